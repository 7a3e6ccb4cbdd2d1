"""How long a new process takes to load the definitions, and how much memory it then holds.

Here: `python -m benchmarks.definitions_loading`. Each repeat is a process of its own, byte-compiled files warm.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks import harness

GOAL_SECONDS = 3.0
PROBE = """
import json, resource, time, warnings
warnings.simplefilter("ignore")
start = time.perf_counter()
from recsys_assets.definitions import defs
repository = defs.get_repository_def()
names = {"feast", "mlflow", "evidently", "lightgbm", "pandas", "implicit", "kubernetes"}
heavy = sorted(names & set(__import__("sys").modules))
print(json.dumps({"seconds": time.perf_counter() - start, "heavy": heavy,
    "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "assets": len(list(repository.asset_graph.get_all_asset_keys()))}))
"""


def measure() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    measure()  # warms the file cache
    runs = [measure() for _ in range(harness.MIN_REPEATS + 2)]
    seconds = harness.Interval.of([run["seconds"] for run in runs])
    figures: dict[str, float | int | str] = dict(seconds.figures("load", "seconds"))
    figures |= {
        "goal_seconds": GOAL_SECONDS,
        "peak_memory_mib": round(max(run["mib"] for run in runs), 1),
        "assets_count": int(runs[0]["assets"]),
        "heavy_libraries_imported": ", ".join(runs[0]["heavy"]) or "none",
    }
    harness.write("definitions_loading", command="python -m benchmarks.definitions_loading", figures=figures, peers={})


if __name__ == "__main__":
    main()
