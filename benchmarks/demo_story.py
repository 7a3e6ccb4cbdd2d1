"""Wall time and peak memory of `recsys-assets demo` by scene, in a home of its own.

Here: `python -m benchmarks.demo_story`. Memory: the sum over all processes of the home, shared pages once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import harness

GOAL_SECONDS, GOAL_MIB = 600, 6 * 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        command = [sys.executable, "-m", "recsys_assets.cli", "demo"]
        played = subprocess.run(command, env=os.environ | {"RECSYS_HOME": str(home)}, check=False)
        told = json.loads((home / "demo.json").read_text(encoding="utf-8"))
    figures = {"exit_code": played.returncode, **told["figures"]}
    figures |= {"goal_total_seconds": GOAL_SECONDS, "goal_peak_mib": GOAL_MIB, "repeats_count": 1}
    harness.write("demo_story", command="python -m benchmarks.demo_story", figures=figures, peers={})
    sys.exit(played.returncode)


if __name__ == "__main__":
    main()
