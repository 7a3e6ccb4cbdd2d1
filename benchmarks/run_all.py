"""Every benchmark that needs nothing but the project, one after another: `make bench`.

Here: the order, the short ones first; all take some three hours of two cores. Not here: clicks_pipeline.py, which needs
a data set that is not the project's; the kills (`make drill`) and the mutants (`make mutants`), which take hours.
"""

from __future__ import annotations

import subprocess
import sys

ALL = (
    "definitions_loading",
    "install_size",
    "as_of_join",
    "recommendation_quality",
    "serving_latency",
    "online_store",
    "demo_story",
    "log_tail",
    "malformed_input",
    "ladder_outages",
    "drills",
    "guard_quality",
    "guard_reaction",
    "collector_durability",
    "release_simulation",
)


def main() -> int:
    failed = [
        name for name in ALL if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    for name in failed:
        print(f"benchmark {name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
