"""From a file of clicks to the evaluation report: wall time and peak memory by job, each job a process of its own.

Here: `python -m benchmarks.clicks_pipeline FILE` on a Parquet file with user_id, item_id and timestamp_ms, such as the
Globo.com news clicks (G1; academic use only, not part of this project). Not here: the demo's data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from benchmarks import harness
from recsys_assets.settings import PACKAGED_CONFIG

GOAL_MIB = 6 * 1024
# News: freshness is all, so a model learns from the last days only and is tested on the last one.
NEWS = {
    "features": {"windows_days": [1, 3, 7, 14], "recent_items": 50},
    "training": {
        "cuts": 3,
        "label_days": 1,
        "lookback_days": 7,
        "max_users_per_cut": 5_000,
        "num_boost_round": 100,
        "learning_rate": 0.1,
    },
    "gate": {"popularity_window_days": 1, "test_days": 1, "max_test_users": 5_000},
}
JOB = """
import json, sys, warnings
warnings.simplefilter("ignore")
from recsys_assets import home
from recsys_assets.settings import load_settings
settings = load_settings()
home.adopt(settings)
from rich.console import Console
from recsys_assets.demo.stage import Stage
from datetime import date
job, said, days = sys.argv[1], sys.argv[2], [date.fromisoformat(day) for day in sys.argv[3:]]
stage = Stage(settings, Console(stderr=True))
outcome = stage.run_job(job, days=days)
for line in (*outcome.failures, *(f"{c.name}: {c.why}" for c in outcome.failed_checks)):
    print(line, file=sys.stderr)
import dagster as dg
report = stage.instance.get_latest_materialization_event(dg.AssetKey("evaluation_report"))
told = {"success": outcome.success, "failed_checks": {c.name: c.why for c in outcome.failed_checks}}
if report is not None:
    found = report.asset_materialization.metadata
    told["verdicts"] = [record.data for record in found["verdicts"].records]
    told["metrics"] = [record.data for record in found["metrics"].records]
open(said, "w").write(json.dumps(told))
"""
# What becomes of a job: "success", "failed_checks" by name, and once there is a report its "verdicts" and "metrics".
Told = dict[str, Any]


def config(file: Path, first: date, end: date) -> dict[str, object]:
    packaged = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    interactions = {
        "paths": [str(file.resolve())],
        "columns": {"user_id": "user_id", "item_id": "item_id", "event_time": "timestamp_ms"},
        "time_unit": "ms",
    }
    data = {"start_date": first, "end_date": end, "interactions": interactions, "max_duplicate_share": 0.5}
    return {**NEWS, "data": data, "rollout": packaged["rollout"]}


def run(job: str, days: list[date], environment: dict[str, str], said: Path) -> tuple[Told, dict[str, float]]:
    """What one job told (nothing, if it died), and its wall seconds and peak MiB."""
    start = time.monotonic()
    command = [sys.executable, "-c", JOB, job, str(said), *(day.isoformat() for day in days)]
    child = subprocess.Popen(command, env=os.environ | environment)
    _, _, usage = os.wait4(child.pid, 0)
    figures = {
        f"{job}_seconds": round(time.monotonic() - start, 1),
        f"{job}_cpu_s": round(usage.ru_utime + usage.ru_stime, 1),  # tells a busy machine from a slow job
        f"{job}_peak_mib": round(usage.ru_maxrss / 1024),
    }
    told: Told = json.loads(said.read_text(encoding="utf-8")) if said.exists() else {"success": False}
    said.unlink(missing_ok=True)
    return told, figures


def summary(figures: dict[str, float], told: Told, failed: dict[str, str]) -> dict[str, float | int | str]:
    """The report is reached when the asset stands, whatever its checks say: they are a finding of their own."""
    verdicts = {row["check"]: row["outcome"] for row in told.get("verdicts", [])}
    sums = {
        "total_seconds": round(sum(v for k, v in figures.items() if k.endswith("_seconds")), 1),
        "total_cpu_s": round(sum(v for k, v in figures.items() if k.endswith("_cpu_s")), 1),
        "peak_mib": max(v for k, v in figures.items() if k.endswith("_mib")),
        "goal_peak_mib": GOAL_MIB,
        "reached_the_report": int(bool(verdicts)),
        "failed_checks_count": len(failed),
    }
    return {**figures, **sums, **{f"{name}_outcome": outcome for name, outcome in verdicts.items()}, **failed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--first", type=date.fromisoformat, default=date(2017, 10, 1))
    parser.add_argument("--end", type=date.fromisoformat, default=date(2017, 10, 17), help="the first day not used")
    given = parser.parse_args()
    days = [given.first + timedelta(days=n) for n in range((given.end - given.first).days)]
    figures: dict[str, float] = {"days_count": len(days)}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clicks.yaml")
        path.write_text(yaml.safe_dump(config(given.file, given.first, given.end)), encoding="utf-8")
        environment = {"RECSYS_HOME": str(Path(folder, "home")), "RECSYS_CONFIG": str(path)}
        for job, over in (("ingest", days), ("catalogue", []), ("train", []), ("evaluate", [])):
            told, measured = run(job, over, environment, Path(folder, "told.json"))
            figures |= measured
            failed |= {f"{name}_said": why for name, why in told.get("failed_checks", {}).items()}
            if not told["success"]:
                break
    peers: dict[str, dict[str, float]] = {}
    for row in told.get("metrics", []):
        peers.setdefault(row["model"], {})[row["metric"]] = row["value"]
    result = summary(figures, told, failed)
    result |= {f"challenger_{metric}": value for metric, value in peers.pop("challenger", {}).items()}
    harness.write("clicks_pipeline", command="python -m benchmarks.clicks_pipeline FILE", figures=result, peers=peers)
    sys.exit(0 if result["reached_the_report"] else 1)


if __name__ == "__main__":
    main()
