"""What each benchmark measures, as paths, and which result is older than that code.

Here: the lists, and asking git. Not here: any measurement, any page (figures.py).
`python -m benchmarks.measured` (`make figures-check`) lists every result with the commits since; it exits 0: a figure
that is old is no mistake.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results"
_PACKAGE: Final = "recsys_assets"
_SERVING: Final = tuple(f"{_PACKAGE}/{each}" for each in ("serving", "recommender", "features/online.py"))
_ROLLOUT: Final = (f"{_PACKAGE}/rollout", f"{_PACKAGE}/platform/local")

MEASURES: Final[Mapping[str, tuple[str, ...]]] = {
    "as_of_join": (f"{_PACKAGE}/features", f"{_PACKAGE}/resources/feature_store.py"),
    "clicks_pipeline": tuple(
        f"{_PACKAGE}/{each}" for each in ("interactions", "features", "training", "recommender", "evaluation")
    ),
    "cluster_story": (*_ROLLOUT[:1], f"{_PACKAGE}/platform/kubernetes", f"{_PACKAGE}/serving", "charts", "helm_values"),
    "collector_durability": tuple(
        f"{_PACKAGE}/serving/{each}"
        for each in ("collector.py", "feedback_log.py", "segments.py", "event_ids.py", "admission.py", "appendlog.py")
    ),
    "control_plane_kills": (*_ROLLOUT, f"{_PACKAGE}/serving"),
    "definitions_loading": (_PACKAGE,),
    "demo_story": (_PACKAGE,),
    "drills": (*_ROLLOUT, f"{_PACKAGE}/drills", f"{_PACKAGE}/serving/faults.py"),
    "guard_reaction": _ROLLOUT,
    "image": ("image", "Dockerfile", "requirements/runtime.lock"),
    "install_size": ("requirements",),
    "kill_drill": (*_ROLLOUT, "recsys_assets_tests/kills"),
    "ladder_outages": _SERVING,
    "malformed_input": ("benchmarks/malformed", f"{_PACKAGE}/interactions", f"{_PACKAGE}/settings.py", *_SERVING),
    "mutation_testing": ("benchmarks/mutation", *_ROLLOUT[:1], f"{_PACKAGE}/evaluation", f"{_PACKAGE}/serving"),
    "recommendation_quality": (f"{_PACKAGE}/training", f"{_PACKAGE}/recommender", f"{_PACKAGE}/evaluation"),
    "release_simulation": (*_ROLLOUT[:1], "benchmarks/release_simulation"),
    "release_stalls": (*_ROLLOUT[:1], "benchmarks/release_simulation"),
    "serving_latency": (*_SERVING, f"{_PACKAGE}/platform/local"),
}


@dataclass(frozen=True)
class Age:
    """One result: the commit that was measured, and how many changed the measured paths since; None: git cannot say."""

    name: str
    commit: str
    since: int | None

    @property
    def is_stale(self) -> bool:
        return self.since is None or self.since > 0

    def line(self) -> str:
        if self.since is None:
            return f"{self.name}: measured at {self.commit[:9]}, which this checkout's history does not have"
        changed = f"{self.since} commits changed what it measures since" if self.since else "as new as what it measures"
        return f"{self.name}: measured at {self.commit[:9]}; {changed}"


def ages(results: Path = RESULTS, *, repository: Path = REPOSITORY) -> Iterator[Age]:
    """The age of every result, by name."""
    for file in sorted(results.glob("*.json")):
        commit = json.loads(file.read_text(encoding="utf-8"))["commit"]
        yield Age(file.stem, commit, commits_since(commit, MEASURES[file.stem], repository=repository))


def commits_since(commit: str, paths: tuple[str, ...], *, repository: Path) -> int | None:
    """How many commits after this one changed something below these paths."""
    words = ["git", "rev-list", "--count", f"{commit}..HEAD", "--", *paths]
    told = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    return int(told.stdout) if told.returncode == 0 else None


def main() -> int:
    found = list(ages())
    for age in found:
        print(age.line())
    stale = sum(age.is_stale for age in found)
    print(f"{stale} of {len(found)} results are older than the code that they measure")
    return 0


if __name__ == "__main__":
    sys.exit(main())
