"""10,000 bad inputs of seven kinds, each with the one error it must get, and 1,000 good ones beside them.

Here: the run and its figures. Not here: the inputs (benchmarks/malformed). A server and a collector really run.

    python -m benchmarks.malformed_input [--mutated 10000] [--valid 1000] [--seed 7] [--only KIND]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from benchmarks.harness import write
from benchmarks.malformed import bundles, config, feedback, files, manifests, requests, routes
from benchmarks.malformed.cases import Case, Count, Good, take
from recsys_assets_tests.serving import processes

# A machine that also does other things may take long to start a server; that is not what is measured here.
START_SECONDS = 300.0


@dataclass(frozen=True)
class Kind:
    """One kind of input: its share of all cases, what it needs while it runs, and its two endless sources."""

    share: float
    place: Callable[[Path], AbstractContextManager[Any]]
    mutated: Callable[[Any, random.Random], Iterator[Case]]
    valid: Callable[[Any, random.Random], Iterator[Good]]


@contextmanager
def _shop(folder: Path) -> Iterator[bundles.Shop]:
    yield bundles.stock(folder)


KINDS = {
    "files": Kind(0.25, nullcontext, files.mutated, files.valid),
    "configs": Kind(0.16, nullcontext, config.mutated, config.valid),
    "requests": Kind(0.26, requests.running, requests.mutated, requests.valid),
    "feedback": Kind(0.06, feedback.running, feedback.mutated, feedback.valid),
    "manifests": Kind(0.12, nullcontext, manifests.mutated, manifests.valid),
    "routes": Kind(0.05, nullcontext, routes.mutated, routes.valid),
    "bundles": Kind(0.10, _shop, bundles.mutated, bundles.valid),
}


def run(kind: Kind, *, mutated: int, valid: int, seed: int) -> Count:
    """Give all inputs of one kind, the same ones for the same seed."""
    count = Count()
    with tempfile.TemporaryDirectory(prefix="malformed-") as name, kind.place(Path(name)) as place:
        for case in take(kind.mutated(place, random.Random(seed)), mutated):
            count.judge(case)
        for good in take(kind.valid(place, random.Random(seed)), valid):
            count.welcome(good)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutated", type=int, default=10_000)
    parser.add_argument("--valid", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=KINDS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    processes.DEADLINE_SECONDS = START_SECONDS
    started, counts = time.monotonic(), dict[str, Count]()
    for name, kind in KINDS.items():
        if given.only in {None, name}:
            sizes = {"mutated": round(given.mutated * kind.share), "valid": round(given.valid * kind.share)}
            counts[name] = run(kind, **sizes, seed=given.seed)
            for told in counts[name].told[:20]:
                print(f"{name}: {told}")
            print(f"{name}: {counts[name].mutated} mutated, {counts[name].let_through} let through", flush=True)
    if given.only is None:
        figures = _figures(counts) | {"seed": given.seed, "duration_seconds": round(time.monotonic() - started, 1)}
        write("malformed_input", command="python -m benchmarks.malformed_input", figures=figures, peers={})


def _figures(counts: dict[str, Count]) -> dict[str, float | int]:
    def total(name: str) -> int:
        return sum(getattr(count, name) for count in counts.values())

    figures: dict[str, float | int] = {
        name: total(name) for name in ("mutated", "let_through", "wrong_error", "valid", "valid_refused")
    }
    for bad, of in (("let_through", "mutated"), ("valid_refused", "valid")):
        share = binomtest(total(bad), total(of)).proportion_ci(confidence_level=0.95, method="exact")
        figures[f"{bad}_share_upper_95"] = round(float(share.high), 6)
    figures["rules"] = sum(len(count.rules) for count in counts.values())
    for kind, count in counts.items():
        for name in ("mutated", "let_through", "wrong_error", "valid", "valid_refused"):
            figures[f"{kind}_{name}"] = getattr(count, name)
        figures[f"{kind}_rules"] = len(count.rules)
    return figures


if __name__ == "__main__":
    main()
