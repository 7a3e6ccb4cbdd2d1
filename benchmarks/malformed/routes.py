"""Route objects whose annotations or split cannot be read as a release, and those of every phase.

Here: a written route changed at one annotation. Not here: how a route is read (rollout/route.py).
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmarks.malformed.cases import Case, Good, Refused, sample
from recsys_assets.platform.interface import ANNOTATION_PREFIX
from recsys_assets.records import Phase
from recsys_assets.rollout.route import RouteBroken, read_route, virtual_service
from recsys_assets_tests.rollout.build import route

_TIMES = [
    "",
    "now",
    "2024-13-01T00:00:00+00:00",
    "2024-01-01T00:00:00",
    "0",
    "inf",
    "1e9",
    "2024-01-01",
    "99999-01-01T00:00Z",
]
_NUMBERS = ["", "x", "1.5", "-1", "nan", "inf", "9" * 5_000, "1 ", " 1", "1_0", "١", "0x1", "+1", "true", "null", "[]"]
WRONG: dict[str, list[Any]] = {
    "phase": ["", "done", "CANARY", "canary ", "1", "null"],
    "step": [*_NUMBERS, "99", "10000"],
    "transition": _NUMBERS,
    "entered": _TIMES,
    "deadline": _TIMES,
    "lease": _TIMES,
    "weights": [
        "",
        "x",
        "5",
        "null",
        "{}",
        '{"a": 1}',
        "[5]",
        "[[1]]",
        "[[1, 2, 3]]",
        '[["x", "2024-01-01T00:00:00+00:00"]]',
        '[[10, "2024-01-01T00:00:00"]]',
        "[[10, 5]]",
        "[[NaN, 5]]",
        '[[-1, "2024-01-01T00:00:00+00:00"]]',
        '[[10001, "2024-01-01T00:00:00+00:00"]]',
        '[[1.5, "2024-01-01T00:00:00+00:00"]]',
        '[[true, "2024-01-01T00:00:00+00:00"]]',
        "[" * 20_000 + "]" * 20_000,
    ],
}


def mutated(folder: Path, rng: random.Random) -> Iterator[Case]:
    """Without end: each annotation missing and wrong, the release's own JSON changed, and the split gone."""
    while True:
        manifest = virtual_service(_some(rng))
        for key, values in WRONG.items():
            yield _annotation(manifest, f"wrong:{key}", key, rng.choice(values))
            yield _annotation(manifest, f"typed:{key}", key, rng.choice([5, None, [], {}, True]))
            yield _annotation(manifest, f"missing:{key}", key, None, gone=True)
        for key in ("action", "actor", "reason", "release"):
            yield _annotation(manifest, f"missing:{key}", key, None, gone=True)
        for name, text in _releases(manifest, rng):
            yield _annotation(manifest, f"release:{name}", "release", text)
        for name, place, value in _specs(rng):
            made = copy.deepcopy(manifest)
            inner: Any = made
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = value
            yield Case(f"split:{name}", lambda m=made: _read(m), "RouteBroken", ("spec.http[0]",))  # type: ignore[misc]
        for text in sample(
            st.text(min_size=1, max_size=20).filter(lambda t: not t.strip().isdigit()), 10, start=rng.randrange(2**32)
        ):
            for key in ("step", "entered", "weights", "release"):
                yield _annotation(manifest, f"noise:{key}", key, text)


def _some(rng: random.Random) -> Any:
    phase = rng.choice([Phase.GATED, Phase.SHADOW, Phase.CANARY, Phase.CANARY, Phase.BAKING])
    return route(phase, rng.randrange(3) if phase is Phase.CANARY else 0)


def _annotation(manifest: Any, rule: str, key: str, value: Any, *, gone: bool = False) -> Case:
    made = copy.deepcopy(manifest)
    annotations = made["metadata"]["annotations"]
    if gone:
        del annotations[ANNOTATION_PREFIX + key]
    else:
        annotations[ANNOTATION_PREFIX + key] = value
    return Case(rule, lambda: _read(made), "RouteBroken", (f"{ANNOTATION_PREFIX}{key}",))


def _releases(manifest: Any, rng: random.Random) -> Iterator[tuple[str, Any]]:
    release = json.loads(manifest["metadata"]["annotations"][ANNOTATION_PREFIX + "release"])
    for key in release:
        yield f"no_{key}", json.dumps({k: v for k, v in release.items() if k != key})
    for key in ("steps_bp", "margin", "alpha", "lease_seconds", "deadline_seconds"):
        plan = {k: v for k, v in release["plan"].items() if k != key}
        yield f"no_plan_{key}", json.dumps(release | {"plan": plan})
        yield f"plan_{key}", json.dumps(release | {"plan": plan | {key: rng.choice([-1, "x", None, [], float("nan")])}})
    yield "surprise", json.dumps(release | {"surprise": 1})
    yield "infinite", json.dumps(release | {"plan": release["plan"] | {"lease_seconds": float("inf")}})
    yield "cut", json.dumps(release)[: -rng.randrange(1, 50)]
    yield "deep", json.dumps(release)[:-1] + ', "x": ' + "[" * 20_000 + "]" * 20_000 + "}"
    yield "list", "[]"


def _specs(rng: random.Random) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    rule = ("spec", "http", 0)
    yield "no_rule", ("spec", "http"), rng.choice([[], None, {}, 5])
    yield "no_route", (*rule, "route"), rng.choice([None, [], {}, 5])
    yield "no_destination", (*rule, "route", 0), rng.choice([{}, None, 5, {"destination": {}}])
    yield "weight", (*rule, "route", -1, "destination"), rng.choice([None, 5, [], "x"])


def _read(manifest: Any) -> Refused | None:
    try:
        read_route(manifest)
    except RouteBroken as broken:
        said = str(broken)
        return Refused("RouteBroken" if len(said) < 20_000 else "RouteBroken without end", said)
    return None


def valid(folder: Path, rng: random.Random) -> Iterator[Good]:
    """Without end: what is written is what is read, in every phase and step, whoever acted and whatever they said."""
    from dataclasses import replace

    while True:
        said = rng.choice(["", "用户 🎬", 'a "quote"', "a\nb", "x" * 5_000, "{}", "null"])
        state = replace(
            _some(rng), reason=said, actor=rng.choice(["ann", "dagster run 1", "Ö"]), transition=rng.randrange(99)
        )
        yield Good("a route", lambda s=state: _same(s))  # type: ignore[misc]


def _same(state: Any) -> str:
    found = read_route(virtual_service(state))
    apart = [
        name
        for name in (
            "release",
            "phase",
            "step",
            "split",
            "transition",
            "weights",
            "reason",
            "actor",
            "lease",
            "deadline",
        )
        if getattr(found, name) != getattr(state, name)
    ]
    return f"read otherwise: {', '.join(apart)}" if apart else ""
