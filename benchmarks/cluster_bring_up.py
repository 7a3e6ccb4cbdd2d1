"""How long the binaries of the test cluster took to build, and how long the cluster takes from nothing to all add-ons.

Here: `python -m benchmarks.cluster_bring_up`; root, and the binaries of `make cluster-binaries`. Not here: any test.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks import harness
from cluster.addons import install_coredns, install_istio, install_kserve
from cluster.build import build_record, ensure_built
from cluster.cluster import Cluster
from cluster.versions import ALL_TOOLS, Tool

VALUES = Path(__file__).parents[1] / "helm_values"
MIB = 2**20


def build_figures(tool: Tool) -> dict[str, float]:
    """From the record beside the binary: it was built once, so there is no interval."""
    record = build_record(tool)
    name = tool.name.replace("-", "_")
    return {
        f"build_{name}_cpu_seconds": float(record["cpu_seconds"]),
        f"build_{name}_wall_seconds": float(record["wall_seconds"]),
        f"build_{name}_mib": round(int(record["bytes"]) / MIB, 1),
    }


def bring_up() -> tuple[dict[str, float], dict[str, float]]:
    """Seconds until each milestone of one bring-up, and the memory of its parts when the node had become ready."""
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        started = time.monotonic()
        with Cluster(Path(folder)) as cluster:
            seconds = {"node_ready": time.monotonic() - started}
            install_coredns(cluster)
            seconds["names_resolved"] = time.monotonic() - started
            install_istio(cluster, [VALUES / "istiod.yaml", VALUES / "istiod-plain-envoy.yaml"])
            seconds["istiod_ready"] = time.monotonic() - started
            install_kserve(cluster, [VALUES / "kserve.yaml"])
            seconds["all_ready"] = time.monotonic() - started
            memory = {name: used / MIB for name, used in cluster.resident_bytes.items()}
            stopping = time.monotonic()
        seconds["stop"] = time.monotonic() - stopping
    return seconds, memory


def main() -> None:
    ensure_built(ALL_TOOLS)
    bring_up()  # writes the images into the cache, and warms the file cache
    runs = [bring_up() for _ in range(harness.MIN_REPEATS)]
    figures: dict[str, float | int | str] = {}
    for milestone in runs[0][0]:
        interval = harness.Interval.of([seconds[milestone] for seconds, _ in runs])
        figures |= interval.figures(milestone, "seconds", digits=2)
    for part in runs[0][1]:
        figures[f"memory_{part.replace('-', '_')}_max_mib"] = round(max(memory[part] for _, memory in runs), 1)
    figures["memory_all_parts_max_mib"] = round(max(sum(memory.values()) for _, memory in runs), 1)
    for tool in ALL_TOOLS:
        figures |= build_figures(tool)
    figures |= {f"version_{tool.name.replace('-', '_')}": tool.version for tool in ALL_TOOLS}
    harness.write("cluster_bring_up", command="python -m benchmarks.cluster_bring_up", figures=figures, peers={})


if __name__ == "__main__":
    main()
