"""Config files that break one rule of the settings, and ones that say the same thing in other words.

Here: YAML documents changed at a place they know. Not here: the settings (recsys_assets/settings.py).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from benchmarks.malformed.cases import Case, Good, Refused, sample
from recsys_assets.settings import PACKAGED_CONFIG, ConfigError, load_settings

Document = dict[str, Any]
BASE: Document = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
# What is no number, no text, no list and no mapping of any section.
_JUNK = st.one_of(
    st.text(min_size=1, max_size=8).filter(lambda t: not _is_number(t)), st.lists(st.integers(), max_size=3)
)
NAN, INF = float("nan"), float("inf")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in {"true", "false", "yes", "no", "on", "off", "y", "n", "t", "f"}
    return True


# Place and values of which every one breaks a rule there.
WRONG: dict[str, list[Any]] = {
    "data.start_date": ["soon", "2024-02-30", "1997", [1], "20240101x", None],
    "data.end_date": ["never", "1998-13-01", 1.5, {}],
    "data.max_null_share": [-0.1, 1, 1.5, NAN, INF, "x", None],
    "data.max_duplicate_share": [-1, 1, NAN, -INF, []],
    "data.min_volume_ratio": [-0.01, NAN, INF, "x"],
    "data.max_volume_ratio": [1, 0, -5, NAN, INF],
    "data.volume_trailing_days": [0, -1, 1.5, "x", INF, NAN, None],
    "data.interactions.paths": [[], "x", None, [1], [[]]],
    "data.interactions.format": ["xlsx", "CSV", 5, "../csv"],
    "data.interactions.separator": ["", ",,", 5, None, "\n", "\r", '"', "\x00"],
    "data.interactions.time_unit": ["ns", "S", 1, None, "seconds"],
    "data.interactions.value_range": [[1], [1, 2, 3], ["a", "b"], 5, [5, 1], [NAN, 1], [0, INF], [1, None]],
    "data.interactions.columns": [{}, {"user_id": "u"}, [], None, {"user_id": 1, "item_id": 2, "event_time": 3}],
    "data.items.id_column": [None, 5, [], {}],
    "data.items.separator": ["", "ab", "\n"],
    "data.users.path": [None, 5, []],
    "features.windows_days": [[], [0], [-1], ["x"], [1.5], 7, [1, 1], None],
    "features.recent_items": [0, -1, 1.5, "x", INF],
    "training.cuts": [0, -1, "x", 0.5, NAN, None],
    "training.learning_rate": [0, -0.1, 1.1, NAN, INF, "fast"],
    "training.num_leaves": [1, 0, -5, 2.5],
    "training.max_single_feature_auc": [0.5, 1.01, NAN],
    "training.seed": ["x", 1.5, None, []],
    "gate.non_inferiority_margin": [0, 1, -0.1, NAN, INF, "x"],
    "gate.alpha": [0, 0.5, -0.1, NAN, "5%"],
    "gate.bootstrap_samples": [99, 0, -1, 1e3 + 0.5],
    "gate.popularity_window_days": [0, -1, NAN, INF],
    "drift.max_distance": [0, -1, NAN, INF],
    "drift.cooldown_seconds": [-1, NAN, INF, "1h"],
    "serving.gateway_port": [-1, 0, 65_536, 1.5, "x", NAN],
    "serving.model_port_first": [0, 70_000, -5],
    "serving.latency_budget_ms": [0, -1, NAN, INF, "fast"],
    "serving.top_k": [0, 101, 1.5, -1],
    "serving.ready_timeout_seconds": [0, NAN, INF, -1],
    "traffic.rate": [0, -1, NAN, INF],
    "traffic.visitors": [0, -1, 1.5],
    "traffic.in_jobs": ["maybe", 2, [], None],
    "rollout.tick_seconds": [0, -1, NAN, INF, "x", None],
    "rollout.plan.steps_bp": [
        [],
        [0],
        [-1],
        [5_001],
        [1_000, 10_000],
        [10_001],
        [5_000, 1_000],
        [1_000, 1_000],
        ["x"],
        1_000,
        None,
    ],
    "rollout.plan.margin": [0, 1, -0.1, NAN, INF, None],
    "rollout.plan.alpha": [0, 0.5, NAN, None, "x"],
    "rollout.plan.attribution_seconds": [0, -1, NAN, INF, None],
    "rollout.plan.deadline_seconds": [0, -1, NAN, INF, None],
    "rollout.plan.lease_seconds": [0, -1, NAN, INF],
    "rollout.plan.bake_seconds": [-1, NAN, INF],
    "rollout.plan.max_p99_ratio": [1, 0, NAN, INF],
    "rollout.plan.max_error_rate_increase": [0, 1, NAN],
    "rollout.plan.min_visitors_per_arm": [0, -1, 1.5],
    "model_name": ["", "A", "1a", "a_b", "../a", "a/b", "a" * 43, "-a", "a-", "a\x00", "ä", None, 5, "a\n"],
    "platform": ["cloud", None, 1, "LOCAL"],
}
SECTIONS = (
    "data",
    "data.interactions",
    "data.items",
    "training",
    "gate",
    "drift",
    "serving",
    "rollout",
    "rollout.plan",
)


def mutated(folder: Path, rng: random.Random) -> Iterator[Case]:
    """Without end: a wrong value at each place, unknown and missing names, junk by hypothesis, and broken texts."""
    while True:
        junk = sample(_JUNK, 60, start=rng.randrange(2**32))
        for place, values in WRONG.items():
            value = rng.choice(values)
            yield _case(folder, f"value:{place}", _changed(place, value), place)
        for place in rng.sample(sorted(WRONG), 12):
            yield _case(folder, f"section_for_value:{place}", _changed(place, {"a": {"b": 1}}), place)
        for place in SECTIONS:
            name = rng.choice(["surprise", "Data", "startdate", "\u0441uts", "__proto__", "../x", "a b"])
            yield _case(folder, f"unknown:{place}", _changed(f"{place}.{name}", rng.choice(junk)), f"{place}.{name}")
            yield _case(folder, f"no_section:{place}", _changed(place, rng.choice(junk)), place)
        for place in _numbers():
            yield _case(folder, f"junk:{place}", _changed(place, rng.choice(junk)), place)
        for place in ("data", "rollout", "data.interactions", "rollout.plan", "data.start_date", "rollout.plan.margin"):
            yield _case(folder, f"missing:{place}", _without(place), place)
        for name in ("home", "config_dir", "config_file"):
            yield _case(folder, f"reserved:{name}", _changed(name, "/etc"), f"{name} cannot be set")
        for name, make in TEXTS.items():
            text, said = make(rng)
            yield _text(folder, f"text:{name}", text, *said)


def _numbers() -> list[str]:
    return [
        place
        for place in WRONG
        if place.split(".")[0] in {"training", "gate", "drift", "traffic"} and "in_jobs" not in place
    ]


def _changed(place: str, value: Any) -> Document:
    made = copy.deepcopy(BASE)
    *sections, last = place.split(".") if not place.endswith("../x") else [*place[:-5].split("."), "../x"]
    inner = made
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[last] = value
    return made


def _without(place: str) -> Document:
    made = copy.deepcopy(BASE)
    *sections, last = place.split(".")
    inner = made
    for section in sections:
        inner = inner[section]
    del inner[last]
    return made


def _case(folder: Path, rule: str, document: Document, place: str) -> Case:
    return _text(folder, rule, yaml.safe_dump(document, allow_unicode=True).encode(), place)


def _text(folder: Path, rule: str, text: bytes, *place: str) -> Case:
    return Case(rule, lambda: _load(folder, text), "ConfigError", ("recsys.yaml", *place))


def _load(folder: Path, text: bytes) -> Refused | None:
    path = folder / "recsys.yaml"
    path.write_bytes(text)
    try:
        load_settings(home=folder / "home", config=path)
    except ConfigError as broken:
        said = str(broken)
        return Refused("ConfigError" if len(said) < 20_000 else "ConfigError without end", said)
    return None


Text = Callable[[random.Random], tuple[bytes, tuple[str, ...]]]
_GOOD = PACKAGED_CONFIG.read_bytes()


def _bomb(rng: random.Random) -> tuple[bytes, tuple[str, ...]]:
    """Each name stands for the one before it many times over: a few hundred bytes, and without end when written out."""
    width = rng.randrange(5, 12)
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, rng.randrange(12, 40))]
    return _GOOD + "\n".join(lines).encode() + b"\n", ()


def _cut(rng: random.Random) -> tuple[bytes, tuple[str, ...]]:
    """Cut before the last required section, wherever that falls."""
    return _GOOD[: rng.randrange(1, _GOOD.index(b"rollout:"))], ()


TEXTS: dict[str, Text] = {
    "bomb": _bomb,
    "cut": _cut,
    "endless": lambda r: (_GOOD + b"loop: &l [*l]\n", ()),
    "deep": lambda r: (_GOOD + b"deep: " + b"[" * 20_000 + b"]" * 20_000 + b"\n", ()),
    "key_twice": lambda r: (_GOOD + b"data: {}\n", ("'data' stands twice",)),
    "inner_key_twice": lambda r: (
        _GOOD.replace(b"  seeds: 2\n", b"  seeds: 2\n  seeds: 3\n"),
        ("'seeds' stands twice",),
    ),
    "python_tag": lambda r: (_GOOD + b"model_name: !!python/object/apply:os.system ['true']\n", ("python/object",)),
    "python_name": lambda r: (_GOOD + b"x: !!python/name:os.system ''\n", ("python/name",)),
    "own_tag": lambda r: (_GOOD + b"x: !vault secret\n", ("!vault",)),
    "list_key": lambda r: (_GOOD + b"? [a, b]\n: c\n", ()),
    "number_key": lambda r: (_GOOD + b"5: c\n", ()),
    "null_byte": lambda r: (_GOOD + b"x: a\x00b\n", ()),
    "control": lambda r: (_GOOD + b"x: a\x07b\n", ()),
    "no_utf8": lambda r: (_GOOD + b"x: \xff\xfe\xfa\n", ()),
    "tab": lambda r: (_GOOD + b"x:\n\ty: 1\n", ()),
    "two_documents": lambda r: (_GOOD + b"---\nx: 1\n", ()),
    "nothing": lambda r: (b"", ()),
    "comment_only": lambda r: (b"# nothing\n", ()),
    "list": lambda r: (b"- a\n- b\n", ()),
    "scalar": lambda r: (b"5\n", ()),
    "json_cut": lambda r: (b'{"data": {"start_date": ', ()),
    "noise": lambda r: (r.randbytes(r.randrange(1, 500)) + b"\x00", ()),
    "large": lambda r: (_GOOD + b"# " + b"x" * (2 << 20), ()),
    "merge": lambda r: (_GOOD.replace(b"  seeds: 2\n", b"  <<: {cuts: 0}\n"), ("training.cuts",)),
    "undefined_alias": lambda r: (_GOOD + b"x: *nobody\n", ("nobody",)),
}

RIGHT: dict[str, list[Any]] = {
    "data.end_date": [None, "1998-05-01"],
    "data.min_volume_ratio": [0, 0.5],
    "data.interactions.separator": [";", "\t", "|"],
    "data.interactions.time_unit": ["s", "ms", "us", "iso"],
    "data.interactions.value_range": [None, [0, 10], [-1.5, 1]],
    "data.items": [None],
    "data.users": [None],
    "features.windows_days": [[1], [1, 7], [365, 1]],
    "training.cut_step_days": [None, 3],
    "training.negatives_per_list": [None, 10],
    "training.learning_rate": [1, 0.001],
    "gate.metric": ["ndcg_at_10"],
    "gate.alpha": [0.01, 0.2],
    "serving.top_k": [1, 80],
    "serving.gateway_port": [1, 65_535, 18_080],
    "traffic.in_jobs": [True, False, "yes"],
    "rollout.plan.steps_bp": [[1], [5_000], [100, 200, 4_999]],
    "rollout.plan.bake_seconds": [0, 1.5],
    "rollout.plan.needs_approval": [True, False],
    "model_name": ["a", "films", "a-b-c", "a" * 42, "x9"],
}


def valid(folder: Path, rng: random.Random) -> Iterator[Good]:
    """Without end: right values at several places, in another order and another notation."""
    while True:
        made = copy.deepcopy(BASE)
        for place in rng.sample(sorted(RIGHT), 4):
            value = rng.choice(RIGHT[place])
            *sections, last = place.split(".")
            inner: Any = made
            for section in sections:
                inner = inner.setdefault(section, {}) if inner is not None else None
            if inner is not None:
                inner[last] = value
        shuffled = dict(rng.sample(list(made.items()), len(made)))
        style = {
            "default_flow_style": rng.choice([None, True, False]),
            "indent": rng.choice([2, 4]),
            "sort_keys": False,
        }
        text = yaml.safe_dump(shuffled, **style)
        if rng.random() < 0.2:
            text = text.replace("\n", "\r\n")
        if rng.random() < 0.2:
            text += "\n# a comment: with 'quotes' and \u7528\u6237\n"
        yield Good("other values, order and notation", lambda t=text: _accepted(folder, t))  # type: ignore[misc]
        anchored = _GOOD.decode().replace("plan:\n", "plan: &p\n")
        yield Good("an anchor", lambda t=anchored: _accepted(folder, t))  # type: ignore[misc]


def _accepted(folder: Path, text: str) -> str:
    refused = _load(folder, text.encode())
    return refused.said if refused else ""
