"""The short form of the drill, in an interpreter of its own: `python -m recsys_assets_tests.kills.short FOLDER SEED`.

Here: which kills it makes; the findings as JSON on standard output. Not here: what is asserted of them (test_kills.py).
A process that ever used Polars must not fork: its threads would be missing in the child. A test runner's may have.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_assets_tests.kills.planted import ledger_before_route, no_row_afterwards, settling_without_fences
from recsys_assets_tests.kills.runs import Kill, Played, boundaries, carry_out, play, random_kills
from recsys_assets_tests.kills.schedule import scenarios

DROP = "ModelRegistryResource.drop_alias"
# The bug, and the one kind of stop that must find it: process, write, how.
PLANTED: dict[str, tuple[Callable[[], None], str, str, str]] = {
    "ledger_before_route": (ledger_before_route, "run", "ManifestStore.apply", "after"),
    "settling_without_fences": (settling_without_fences, "sensor", DROP, "stop"),
    "no_row_afterwards": (no_row_afterwards, "run", "ManifestStore.apply", "after"),
}


def by(played: Played, process: str, *, how: tuple[str, ...], write: str = "") -> list[Kill]:
    """The boundaries of one process that differ, at one kind of write or at all."""
    kills = [k for k in boundaries(played)[0] if played.turns[k.turn].process == process and k.at and k.at.how in how]
    return [k for k in kills if not write or (k.at and played.writes[k.turn][k.at.number - 1] == write)]


def findings(folder: Path, seed: int) -> dict[str, list[dict[str, Any]]]:
    """What each group of kills found."""
    ended = play(scenarios()["person_rolls_back"], folder / "ended")
    chance, work = random.Random(seed), folder / "home"
    killed = ("before", "after")
    settling = [k for k in by(ended, "sensor", how=(*killed, "stop")) if DROP in ended.writes[k.turn]]
    groups = {
        "ending": [(k, None) for k in [*by(ended, "roll_back", how=killed), *settling] if k.at and k.at.how != "stop"],
        "late": [(k, None) for k in settling if k.at and k.at.how == "stop"][2:3],
        "random": [(kill, None) for kill in random_kills(ended, chance, 2, double=True)],
    }
    groups |= {name: [(by(ended, p, how=(h,), write=w)[0], bug)] for name, (bug, p, w, h) in PLANTED.items()}
    return {
        name: [carry_out(ended, kill, work, plant=bug).as_json() for kill, bug in kills]
        for name, kills in groups.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(findings(Path(sys.argv[1]), int(sys.argv[2]))))
