"""Every drill played for real: a bad model let into a running stack, and how fast it was found and gone.

Here: `make up`'s processes on ports of their own, the demo's first release, visitors, `recsys-assets drill <kind>
--wait`. Run it from the project's root: `python -m benchmarks.drills`, some eight minutes on two free cores.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks import harness
from recsys_assets import home
from recsys_assets.demo import world
from recsys_assets.demo.play import quieten
from recsys_assets.demo.scenes import first_release
from recsys_assets.demo.stage import Stage
from recsys_assets.drills.kinds import KINDS
from recsys_assets.drills.records import kept
from recsys_assets.platform.interface import Unavailable
from recsys_assets.platform.local import stack
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings

SERVER_PORTS = 20
STARTS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one drill")
    parser.add_argument("--seed", type=int, default=7, help="of the ports and the visitors")
    parser.add_argument("--folder", type=Path, help="kept, and taken as it stands where it has a champion already")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(asked.folder or Path(folder), asked.seed)
        home.adopt(settings)
        quieten()
        try:
            figures = measure(settings, asked)
        finally:
            stack.stop(settings)
    harness.write("drills", command="python -m benchmarks.drills", figures=figures, peers={})
    sys.exit(0 if figures["caught_count"] == len(asked.kinds) else 1)


def make_settings(folder: Path, seed: int) -> Settings:
    """The packaged configuration on ports of its own."""
    raw: dict[str, Any] = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    first = random.Random(seed).randrange(20_000, 30_000, SERVER_PORTS + 5)
    names = ("gateway_port", "gateway_admin_port", "collector_port", "mlflow_port", "dagster_port")
    raw["serving"] = {name: first + number for number, name in enumerate(names)}
    raw["serving"] |= {"model_port_first": first + 5, "model_port_last": first + 4 + SERVER_PORTS}
    raw["traffic"]["seed"] = seed
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_settings(home=folder / "home", config=config)


def measure(settings: Settings, asked: argparse.Namespace) -> dict[str, float | int | str]:
    """The first release, then each drill; flat figures."""
    print(f"seed {asked.seed}, ports from {settings.serving.gateway_port}", flush=True)
    stage = Stage(settings, Console(highlight=False, width=140))
    claims = [] if world.champion(stage) else first_release(stage)
    if not all(claim.holds for claim in claims):
        raise SystemExit(f"no champion to fall back to: {[c.text for c in claims if not c.holds]}")
    start_patiently(settings)
    took: dict[str, float] = {}
    for kind in asked.kinds:
        started = time.monotonic()
        command = [sys.executable, "-m", "recsys_assets.cli", "drill", kind, "--wait", "--timeout", str(asked.timeout)]
        code = subprocess.run(command, env=os.environ | home.environment(settings), check=False).returncode
        took[kind] = round(time.monotonic() - started, 1)
        print(f"{kind}: exit code {code} after {took[kind]} s", flush=True)
    return figures_of(settings, took)


def start_patiently(settings: Settings) -> None:
    """What does not answer in its time goes on starting: on a busy machine it gets its time once more."""
    for left in reversed(range(STARTS)):
        try:
            return stack.start(settings)
        except Unavailable:
            if not left:
                raise


def figures_of(settings: Settings, took: dict[str, float]) -> dict[str, float | int | str]:
    """What `drill_report` says of each kind."""
    rows = {row.kind: row for row in kept(settings)}
    figures: dict[str, float | int | str] = {"played_count": len(took)}
    figures["caught_count"] = sum(row.caught for row in rows.values())
    figures["promoted_count"] = sum(row.phase == "champion" for row in rows.values())
    for kind, seconds in took.items():
        figures[f"{kind}_whole_drill_seconds"] = seconds
        if (row := rows.get(kind)) is None:
            continue
        figures[f"{kind}_detection_seconds"] = round(row.detection_seconds or -1.0, 2)
        figures[f"{kind}_rollback_seconds"] = round(-1.0 if row.rollback_seconds is None else row.rollback_seconds, 2)
        figures[f"{kind}_users_exposed_count"] = row.users_exposed
        figures[f"{kind}_ended_as"] = row.phase
        figures[f"{kind}_caught_by"] = ", ".join(row.caught_by)
        figures[f"{kind}_stopped_by"] = row.by
    return figures


if __name__ == "__main__":
    main()
