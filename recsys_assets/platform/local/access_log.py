"""Reads the gateway's access log into rows of columns.GATEWAY_REQUESTS.

Here: tolerant reading of a file that Envoy is writing. Not here: what the numbers mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

from recsys_assets.columns import GATEWAY_REQUESTS

FILE: Final = "access.jsonl"
# Lines stand in the order in which requests ended; none takes longer than this.
_LONGEST: Final = timedelta(minutes=2)
_NOT_RECOMMENDATIONS: Final = frozenset({"feedback", "refused", None, "", "-"})
_SMALL: Final = 1 << 16


def read_gateway_requests(folder: Path, since: datetime | None = None) -> pl.DataFrame:
    """Every recommendation request that the gateway answered, from `since` on; empty without a log.

    `cluster` is the service that answered, or was to answer. Where it differs from the variant's own service, the
    variant's server was dead and stable answered in its place: that counts against the variant. `variant` is null where
    the request never got that far. A client error without a visitor, and feedback, are no rows.
    """
    path = folder / FILE
    if not path.exists():
        return pl.DataFrame(schema=GATEWAY_REQUESTS)
    with path.open("rb") as file:
        _seek(file, path.stat().st_size, since)
        rows = [_row(line) for line in _parsed(file) if line.get("route") not in _NOT_RECOMMENDATIONS]
    frame = pl.DataFrame(rows, schema=GATEWAY_REQUESTS, orient="row")
    return frame if since is None else frame.filter(pl.col("served_at") >= since)


def _seek(file: BinaryIO, size: int, since: datetime | None) -> None:
    """Halve the file until just before the first line that may matter, so that reading the newest stays cheap."""
    if since is None:
        return
    low, high, wanted = 0, size, since.astimezone(UTC) - _LONGEST
    while high - low > _SMALL:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        first = next(iter(_parsed(file)), None)
        if first is None or _time(first) >= wanted:
            high = middle
        else:
            low = middle
    file.seek(low)
    if low:
        file.readline()


def _parsed(lines: Iterable[bytes]) -> Iterable[Mapping[str, Any]]:
    """The whole lines. A torn one is the end that is just being written, or what a kill left in the middle."""
    for line in lines:
        if not line.endswith(b"\n"):
            continue
        try:
            parsed = json.loads(line)
        except ValueError:
            continue
        if isinstance(parsed, dict) and "served_at" in parsed:
            yield parsed


def _row(line: Mapping[str, Any]) -> tuple[Any, ...]:
    cluster = line.get("service") or str(line.get("cluster") or "").split("|")[0] or None
    micros = line.get("duration_us")
    return (
        line.get("request_id"),
        _time(line),
        line.get("visitor_id"),
        line.get("variant"),
        cluster,
        line.get("status"),
        None if micros is None else float(micros) / 1_000.0,
        line.get("model_version"),
        line.get("rung"),
    )


def _time(line: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(line["served_at"]))
