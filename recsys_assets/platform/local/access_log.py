"""Reads the gateway's access log into rows of columns.GATEWAY_REQUESTS.

Here: tolerant reading of files that Envoy is writing. Not here: what the numbers mean, or places in files (tail.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
import polars as pl

from recsys_assets.columns import GATEWAY_REQUESTS
from recsys_assets.tail import Lines, LogFormat

FILE: Final = "access.jsonl"
# A log that was moved aside keeps the beginning of its name: access-1.jsonl, access.jsonl.1.
_MOVED_ASIDE: Final = "access*.jsonl*"
_OTHERS: Final = (".gz", ".zst", ".tmp", ".lock")
# Lines stand in the order in which requests ended; none takes longer than this.
_LONGEST: Final = timedelta(minutes=2)
# `recsys-route` is how a gateway on Kubernetes is asked what it does.
_NOT_RECOMMENDATIONS: Final = frozenset(
    {"feedback", "recsys.about", "recsys-about", "refused", "recsys-route", None, "", "-"}
)
# How Istio names the cluster of a Service: `outbound|80||films-v1-predictor.recsys.svc.cluster.local`.
_ISTIO: Final = "outbound"
_PREDICTOR: Final = "-predictor"
_SMALL: Final = 1 << 16


def _files(folder: Path, since: datetime | None) -> Sequence[Path]:
    """The files of this folder, and of one folder below it for each gateway pod: several that write one file of a
    network file system would tear it."""
    pods = sorted(path for path in folder.glob("*") if path.is_dir())
    return [path for each in (folder, *pods) for path in _files_of_one(each, since)]


def _files_of_one(folder: Path, since: datetime | None) -> Sequence[Path]:
    """The present log last, before it those moved aside, oldest first; without those last written before `since`."""
    moved = []
    for path in folder.glob(_MOVED_ASIDE):
        if path.name == FILE or path.suffix in _OTHERS:
            continue
        try:
            written = path.stat().st_mtime
        except FileNotFoundError:
            continue
        if since is None or written >= (since - _LONGEST).timestamp():
            moved.append((written, path.name, path))
    return [*(path for _, _, path in sorted(moved)), folder / FILE]


def _begin(file: BinaryIO, since: datetime | None) -> int:
    """Halve the file until just before the first line that may matter, so that reading the newest stays cheap."""
    if since is None:
        return 0
    low, high, wanted = 0, file.seek(0, 2), since.astimezone(UTC) - _LONGEST
    while high - low > _SMALL:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        first = next(iter(_parsed(file)), None)
        if first is None or _time(first) >= wanted:
            high = middle
        else:
            low = middle
    if not low:
        return 0
    file.seek(low)
    file.readline()
    return file.tell()


def _rows(lines: Lines) -> pl.DataFrame:
    found = _parsed(BytesIO(lines.content))
    rows = [_row(line) for line in found if line.get("route") not in _NOT_RECOMMENDATIONS]
    return pl.DataFrame(rows, schema=GATEWAY_REQUESTS, orient="row")


def _parsed(lines: Iterable[bytes]) -> Iterable[Mapping[str, Any]]:
    """The whole lines. A torn one is the end that is just being written, or what a kill left in the middle."""
    for line in lines:
        if not line.endswith(b"\n"):
            continue
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(parsed, dict) and "served_at" in parsed:
            yield parsed


def _row(line: Mapping[str, Any]) -> tuple[Any, ...]:
    cluster = line.get("service") or _service(str(line.get("cluster") or "")) or None
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


def _service(cluster: str) -> str:
    direction, *_, host = cluster.split("|") if "|" in cluster else (cluster, "")
    return host.split(".")[0].removesuffix(_PREDICTOR) if direction == _ISTIO else direction


def _time(line: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(line["served_at"]))


# A row is a recommendation request that the gateway answered. `cluster` is the service that answered, or was to answer:
# where it differs from the variant's own service, the variant's server was dead and stable answered in its place, which
# counts against the variant. `variant` is null where the request never got that far. A client error without a visitor,
# and feedback, are no rows.
GATEWAY_LOG: Final = LogFormat(GATEWAY_REQUESTS, "served_at", _files, _rows, begin=_begin)
