"""Wall time and peak memory of `recsys-assets demo` by scene, in a home of its own.

Here: `python -m benchmarks.demo_story`. Memory: the sum over all processes of the home, shared pages once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import harness

GOAL_SECONDS, GOAL_MIB = 600, 6 * 1024


def played(home: Path) -> tuple[int, dict[str, float]]:
    """Whether the demo that was played in this home ended as told (0 or 1), and its figures."""
    told = json.loads((home / "demo.json").read_text(encoding="utf-8"))
    return 0 if told["as_told"] else 1, told["figures"]


def play() -> tuple[int, dict[str, float]]:
    """Play it now, in a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        command = [sys.executable, "-m", "recsys_assets.cli", "demo"]
        subprocess.run(command, env=os.environ | {"RECSYS_HOME": str(home)}, check=False)
        return played(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--played", type=Path, metavar="HOME", help="take the figures of a demo that was just played")
    given = parser.parse_args()
    code, told = played(given.played) if given.played else play()
    figures = {"exit_code": code, **told}
    figures |= {"goal_total_seconds": GOAL_SECONDS, "goal_peak_mib": GOAL_MIB, "repeats_count": 1}
    harness.write("demo_story", command="python -m benchmarks.demo_story", figures=figures, peers={})
    sys.exit(code)


if __name__ == "__main__":
    main()
