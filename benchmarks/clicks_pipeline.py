"""From a file of clicks to the evaluation report: wall time and peak memory by job, each job a process of its own.

Here: `python -m benchmarks.clicks_pipeline FILE` on a Parquet file with user_id, item_id and timestamp_ms, such as the
Globo.com news clicks (G1; academic use only, not part of this project). Not here: the demo's data.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import yaml

from benchmarks import harness
from recsys_assets.settings import PACKAGED_CONFIG

GOAL_MIB = 6 * 1024
# News: freshness is all, so a model learns from the last days only and is tested on the last one.
NEWS = {
    "features": {"windows_days": [1, 3, 7, 14], "recent_items": 50},
    "training": {"cuts": 3, "label_days": 1, "max_users_per_cut": 10_000},
    "gate": {"test_days": 1, "max_test_users": 5_000},
}
JOB = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
from recsys_assets import home
from recsys_assets.settings import load_settings
settings = load_settings()
home.adopt(settings)
from rich.console import Console
from recsys_assets.demo.stage import Stage
from datetime import date
days = [date.fromisoformat(day) for day in sys.argv[2:]]
config = None
outcome = Stage(settings, Console(stderr=True)).run_job(sys.argv[1], days=days)
for line in (*outcome.failures, *(f"{c.name}: {c.why}" for c in outcome.failed_checks)):
    print(line, file=sys.stderr)
sys.exit(0 if outcome.success else 1)
"""


def config(file: Path, first: date, end: date) -> dict[str, object]:
    packaged = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    interactions = {
        "paths": [str(file.resolve())],
        "columns": {"user_id": "user_id", "item_id": "item_id", "event_time": "timestamp_ms"},
        "time_unit": "ms",
    }
    data = {"start_date": first, "end_date": end, "interactions": interactions, "max_duplicate_share": 0.5}
    return {**NEWS, "data": data, "rollout": packaged["rollout"]}


def run(job: str, days: list[date], environment: dict[str, str]) -> tuple[bool, float, float]:
    """Success, wall seconds and peak MiB of one job."""
    start = time.monotonic()
    command = [sys.executable, "-c", JOB, job, *(day.isoformat() for day in days)]
    child = subprocess.Popen(command, env=os.environ | environment)
    _, status, usage = os.wait4(child.pid, 0)
    return status == 0, time.monotonic() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--first", type=date.fromisoformat, default=date(2017, 10, 1))
    parser.add_argument("--end", type=date.fromisoformat, default=date(2017, 10, 17), help="the first day not used")
    given = parser.parse_args()
    days = [given.first + timedelta(days=n) for n in range((given.end - given.first).days)]
    figures: dict[str, float | int | str] = {}
    succeeded = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clicks.yaml")
        path.write_text(yaml.safe_dump(config(given.file, given.first, given.end)), encoding="utf-8")
        environment = {"RECSYS_HOME": str(Path(folder, "home")), "RECSYS_CONFIG": str(path)}
        for job, over in (("ingest", days), ("catalogue", []), ("train", []), ("evaluate", [])):
            done, seconds, mib = run(job, over, environment)
            figures |= {f"{job}_seconds": round(seconds, 1), f"{job}_peak_mib": round(mib)}
            succeeded = succeeded and done
            if not done:
                break
    figures["total_seconds"] = round(sum(v for k, v in figures.items() if k.endswith("_seconds")), 1)
    figures["peak_mib"] = max(v for k, v in figures.items() if k.endswith("_mib"))
    figures |= {"goal_peak_mib": GOAL_MIB, "days_count": len(days), "reached_the_report": int(succeeded)}
    harness.write("clicks_pipeline", command="python -m benchmarks.clicks_pipeline FILE", figures=figures, peers={})
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
