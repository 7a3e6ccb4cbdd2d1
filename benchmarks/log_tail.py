"""What one look at the logs costs when a release is a million answers old: read whole, and read on from the last look.

Here: files as the servers, the collector and Envoy write them. Not here: what is made of the rows.
Run it from the project's root: `python -m benchmarks.log_tail`, some three minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import harness
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.serving.exposures import exposure_line
from recsys_assets.serving.feedback_protocol import Event, feedback_line
from recsys_assets.serving.ladder import Answer

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = tuple(f"item{n}" for n in range(10))
BATCH = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in each of the gateway's and the servers' logs")
    parser.add_argument("--new", type=int, default=100, help="rows between two looks")
    parser.add_argument("--repeats", type=int, default=harness.MIN_REPEATS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for first in range(0, asked.rows, BATCH):
            write(home, first, min(BATCH, asked.rows - first))
        figures = measure(home, asked)
    figures |= {"rows": asked.rows, "new_rows_per_look": asked.new}
    harness.write("log_tail", command="python -m benchmarks.log_tail", figures=figures, peers={})


def measure(home: Path, asked: argparse.Namespace) -> dict[str, float | int]:
    """The same looks by a reader that begins anew each time, and by one that is kept; both must see the same."""
    kept, seconds = LogMetrics(home), dict[str, list[float]]()
    kept.logs(BEGAN)
    for repeat in range(asked.repeats):
        write(home, asked.rows + repeat * asked.new, asked.new)
        for name, metrics in (("whole", LogMetrics(home)), ("tail", kept)):
            for what, look in (("gateway_look", metrics.gateway_only), ("full_look", metrics.logs)):
                began = time.perf_counter()
                logs = look(BEGAN)
                seconds.setdefault(f"{name}_{what}", []).append(time.perf_counter() - began)
                assert logs.gateway is not None
                assert logs.gateway.height == asked.rows + (repeat + 1) * asked.new
    figures: dict[str, float | int] = {}
    for name, values in seconds.items():
        figures |= harness.Interval.of(values).figures(name, "seconds")
    for what in ("gateway_look", "full_look"):
        whole, tail = (figures[f"{name}_{what}_median_seconds"] for name in ("whole", "tail"))
        figures[f"{what}_whole_over_tail_ratio"] = round(whole / tail, 1)
    return figures


def write(home: Path, first: int, count: int) -> None:
    """`count` answers, two milliseconds apart, every fourth of them clicked."""
    exposures, feedback, gateway = [], [], []
    for number in range(first, first + count):
        at, request, arm = BEGAN + timedelta(milliseconds=2 * number), f"r{number:09}", number % 2
        variant, version = ("stable", "1") if arm else ("canary", "2")
        answer = Answer(f"u{number % 5_000}", ITEMS, [1.0 - n / 10 for n in range(10)], "full", ())
        exposures.append(
            exposure_line(
                answer,
                request_id=request,
                served_at=at,
                visitor_id=f"v{number}",
                model_version=version,
                variant=variant,
                latency_ms=3.0,
            )
        )
        gateway.append(access(request, at, f"v{number}", variant, version))
        if number % 4 == 0:
            event = Event(event_id=f"{request}-1", request_id=request, item_id=ITEMS[0], event_type="click")
            feedback.append(feedback_line(event, at + timedelta(milliseconds=500)))
    for name, lines in (
        ("exposures/v1.jsonl", exposures),
        ("feedback/feedback.jsonl", feedback),
        ("gateway/access.jsonl", gateway),
    ):
        path = home / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(lines))


def access(request: str, at: datetime, visitor: str, variant: str, version: str) -> bytes:
    row = {
        "request_id": request,
        "served_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "visitor_id": visitor,
        "variant": variant,
        "cluster": f"recommender-v{version}",
        "service": f"recommender-v{version}",
        "status": 200,
        "duration_us": 3_100,
        "model_version": version,
        "rung": "full",
        "path": "/v1/models/recommender:predict",
        "route": "recommender",
        "flags": "-",
        "upstream": "127.0.0.1:8100",
    }
    return json.dumps(row).encode() + b"\n"


if __name__ == "__main__":
    main()
