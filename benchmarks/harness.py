"""What every benchmark shares: intervals over repeats, and one result file of one shape.

Here: statistics of a few repeats, the machine, writing benchmarks/results/<name>.json. Not here: any measurement.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import MEASURES

RESULTS = Path(__file__).parent / "results"
MIN_REPEATS = 5

Figures = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Interval:
    """Median of the repeats with the smallest and largest, which for five of them is a 94 % interval of the median."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        if len(values) < MIN_REPEATS:
            raise ValueError(f"{len(values)} repeats are too few for an interval: at least {MIN_REPEATS}")
        return cls(statistics.median(values), min(values), max(values), len(values))

    def figures(self, name: str, unit: str, digits: int = 4) -> dict[str, float]:
        """`<name>_median_<unit>` and its low and high, flat, for the result file."""
        return {f"{name}_{part}_{unit}": round(getattr(self, part), digits) for part in ("median", "low", "high")}


def write(name: str, *, command: str, figures: Figures, peers: Mapping[str, Figures]) -> Path:
    """Write the result file and print it as a table. `figures` are flat, with stable keys that end in their unit."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    result = {"name": name, "command": command, "commit": _commit(), "machine": _machine()}
    result["measures"] = list(MEASURES.get(name, ()))
    result |= {"figures": dict(figures), "peers": {peer: dict(values) for peer, values in peers.items()}}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for title, values in [(name, figures), *peers.items()]:
        print(f"\n{title}")
        for key, value in values.items():
            print(f"  {key:<55} {value}")
    return path


def _commit() -> str:
    folder = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _machine() -> dict[str, str | int]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }
