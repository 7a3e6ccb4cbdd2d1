"""The story of releases on a real cluster, measured: phases, requests lost by what was killed, the split of the users.

Here: `python -m benchmarks.cluster_story`; root, `make cluster-binaries` and `make image`. Not here: the story, which
is the test's (recsys_assets_tests/cluster/story.py): a figure is written even where a claim about it fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import harness

TEST = "recsys_assets_tests/cluster/test_story.py"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "pytest", "-m", "cluster", TEST, "--figures", str(told), "-q", "-s"]
        done = subprocess.run(command, check=False)
        if not told.is_file():
            return done.returncode or 1
        figures = json.loads(told.read_text(encoding="utf-8"))
    figures["claims_hold"] = str(done.returncode == 0)
    harness.write("cluster_story", command="python -m benchmarks.cluster_story", figures=figures, peers={})
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
