"""Batches of feedback that a real collector must refuse with 4xx at their fault's place, and those it must keep.

Here: events changed at a field they know. Not here: their shape (feedback_protocol.py), or durability.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.malformed.cases import Case, Good
from benchmarks.malformed.requests import Place, Rules, _case, broken, changed, dump
from recsys_assets_tests.serving.processes import running as started

PATH = "/v1/feedback"
_NO_ID = ["", " a", "a ", "a\x00b", "a\nb", 5, None, True, [], {}, "\u200b", "a\u202e"]
BASE: dict[str, Any] = {
    "events": [{"event_id": f"e{n}", "request_id": "u01", "item_id": "i01", "event_type": "click"} for n in range(3)]
}
RULES: Rules = [
    (("events",), "events", [[], None, {}, "x", 5]),
    (("events", 0), "events[0]", [None, [], "x", {}, {"event_id": "e"}]),
    (("events", 1, "event_id"), "events[1].event_id", [*_NO_ID, "x" * 601]),
    (("events", 1, "request_id"), "events[1].request_id", [*_NO_ID, "x" * 257]),
    (("events", 2, "item_id"), "events[2].item_id", [*_NO_ID, "x" * 257]),
    (
        ("events", 2, "event_type"),
        "events[2].event_type",
        ["", "Click", "1a", "a b", "a" * 33, "a-b", 5, None, "a\n", "é", []],
    ),
    (("events", 0, "received_at"), "events[0].received_at", ["2024-01-01", 5]),
    (("events", 0, "surprise"), "events[0].surprise", [1, None]),
    (("surprise",), "surprise", [1, None, []]),
    (("client",), "client", ["admin"]),
]


@contextmanager
def running(folder: Path) -> Iterator[Place]:
    """One real collector for all cases, which takes as many events as come."""
    limits = json.dumps({"events_per_second": 1e7, "client_events_per_second": 1e7})
    with started("collector", "--log-folder", folder / "logs", "--limits", limits) as server:
        yield Place(server)


def mutated(place: Place, rng: random.Random) -> Iterator[Case]:
    """Without end: a wrong value in each field, too many events, and bytes that are no JSON."""
    while True:
        for where, named, values in RULES:
            body = dump(changed(BASE, where, rng.choice(values)))
            yield _case(place, named, body, "422", named, path=PATH)
        many = [BASE["events"][0] | {"event_id": str(n)} for n in range(1_001)]
        yield _case(place, "too_many", dump({"events": many}), "422", "events", path=PATH)
        for name, body, status, named in broken(BASE, rng):
            if name not in {"nan", "infinity", "inner_name_twice"}:
                yield _case(place, name, body, status, named, path=PATH)
        twice = dump(BASE).replace(b'"item_id": "i01"', b'"item_id": "i01", "item_id": "i02"', 1)
        yield _case(place, "field_twice", twice, "422", "item_id", path=PATH)
        yield _case(
            place, "content_type", dump(BASE), "415", "content-type", path=PATH, headers={"content-type": "text/plain"}
        )
        yield _case(place, "method", b"", "405", "", path=PATH, method=rng.choice(["GET", "PUT", "DELETE"]))


def valid(place: Place, rng: random.Random) -> Iterator[Good]:
    """Without end: batches of new events, every one of which must be accepted once."""
    number = 0
    while True:
        events = []
        for _ in range(rng.choice([1, 2, 50])):
            number += 1
            text = rng.choice(["用户", "é", "a b", "🎬", "x" * 200, "null", "../x", "0"])
            kind = rng.choice(["click", "play", "a", "purchase_2", "x" * 32])
            events.append({"event_id": f"{number}/{text}", "request_id": text, "item_id": text, "event_type": kind})
        yield Good("a batch", lambda e=events: _kept(place, e))  # type: ignore[misc]


def _kept(place: Place, events: list[dict[str, str]]) -> str:
    answer = place.server.client.post(
        PATH, content=dump({"events": events}), headers={"content-type": "application/json"}
    )
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:300]}"
    return "" if answer.json() == {"accepted": len(events), "duplicates": 0} else answer.text
