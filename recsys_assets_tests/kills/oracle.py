"""What must hold: at each moment of the route, at the end, and how soon nothing is left half-done.

Here: pure reading of a home; every finding is a sentence. Not here: any run.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import Any

from recsys_assets.platform.interface import DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.ledger import MARKED, OPENED, PHASES, SETTLED, Event
from recsys_assets.rollout.route import RouteState, champion_of, kept_service, read_route, stable_service
from recsys_assets_tests.kills.home import NAME, Home

ALL_BP = 10_000


def half_done(home: Home) -> list[str]:
    """What is not yet as the route says. Empty: nothing is left half-done."""
    state = read_state(home.store, NAME)
    if state is None:
        return [f"rule {name} is left" for name in _names(home, DESTINATION_RULE)]
    rows = {event.key for event in home.ledger.events(state.release.release_id)}
    found = [
        f"no row of move {move.transition}"
        for move in (*state.trail, state.latest)
        if f"{state.release.release_id}/{move.transition}" not in rows
    ]
    champion = home.aliases().get("champion")
    if champion_of(state) is not None and champion != champion_of(state):
        found.append(f"alias champion is {champion}, the route says {champion_of(state)}")
    if state.phase.is_end:
        return found + _unsettled(home, state, rows)
    if state.release.model.service_name not in _names(home, DESTINATION_RULE):
        found.append("the new version has no rule")
    return found


def _unsettled(home: Home, state: RouteState, rows: set[str]) -> list[str]:
    release = state.release
    kept, both = kept_service(state), {release.model.service_name, stable_service(release)}
    services, rules = _names(home, INFERENCE_SERVICE), _names(home, DESTINATION_RULE)
    found = [f"service {name} is left" for name in (both - {kept}) & services]
    found += [f"rule {name} is left" for name in rules - {kept}]
    if kept is None:
        found.append("a route that leads nowhere stands")
    elif kept not in services:
        found.append(f"service {kept} is gone, and the route gives it everything")
    if f"{release.release_id}/{state.transition}/{SETTLED}" not in rows:
        found.append("no row says that it is settled")
    marked = f"{release.release_id}/{MARKED}" in rows
    if marked is not (state.phase is Phase.ROLLED_BACK and any(w.weight_bp for w in state.weights)):
        found.append(f"exposures marked: {marked}, though {state.phase.value}")
    if home.aliases().get("challenger") == state.version and state.phase is not Phase.HELD:
        found.append(f"version {state.version} still is the challenger")
    return found


def _names(home: Home, kind: str) -> set[str]:
    return {m["metadata"]["name"] for m in home.store.list(kind)}


def contradictions(home: Home) -> list[str]:
    """Whatever was wrong at any moment: in a revision of the route, or between the ledger and the route."""
    states = route_history(home)
    found = [problem for state in states for problem in _unplanned(state)]
    found += [problem for before, after in pairwise(states) for problem in _step(before, after)]
    releases = {state.release.release_id: state for state in states}
    made = {(s.release.release_id, s.transition): s for s in states}
    for release_id, last in releases.items():
        found += _rows(release_id, last, made, home.ledger.events(release_id))
    strangers = {e.release_id for e in home.ledger.events()} - set(releases)
    return found + [f"rows of {name}, which never stood on the route" for name in sorted(strangers)]


def route_history(home: Home) -> list[RouteState]:
    """Every state of the route that ever stood, in order."""
    with closing(sqlite3.connect(home.store.path)) as db:
        found = db.execute("SELECT manifest FROM history WHERE kind = ? ORDER BY seq", (VIRTUAL_SERVICE,)).fetchall()
    for (text,) in found:
        weights = [arm["weight"] for arm in json.loads(text)["spec"]["http"][0]["route"]]
        assert sum(weights) == ALL_BP, weights
    return [read_route(json.loads(text)) for (text,) in found]


def _unplanned(state: RouteState) -> list[str]:
    at = f"{state.release.release_id}/{state.transition}"
    return [f"{at}: {state.manual_edit}"] if state.manual_edit else []


def _step(before: RouteState, after: RouteState) -> list[str]:
    """From one revision to the next: the same move, or the next one, or a new release after an end."""
    if before.release.release_id != after.release.release_id:
        return [] if before.phase.is_end else [f"{after.release.release_id} opened over {before.release.release_id}"]
    at = f"{after.release.release_id}/{after.transition}"
    if after.transition == before.transition:
        return [] if after.latest == before.latest else [f"{at}: was changed afterwards"]
    if before.phase.is_end:
        return [f"{at}: moved on after its end"]
    return [] if after.transition == before.transition + 1 else [f"{at}: came after {before.transition}"]


def _rows(release_id: str, last: RouteState, made: dict[tuple[str, int], RouteState], events: list[Event]) -> list[str]:
    rows = [e for e in events if e.kind in PHASES or e.kind == OPENED]
    numbers = [int(e.key.rpartition("/")[2]) for e in rows]
    found = []
    if numbers != list(range(last.transition + 1)):
        found.append(f"{release_id}: rows of the moves {numbers}, the route made {last.transition + 1}")
    for event, number in zip(rows, numbers, strict=True):
        state = made.get((release_id, number))
        told = (event.body["phase"], event.body["step"], event.actor, event.at, event.body["reason"])
        if state is None or told != (state.phase.value, state.step, state.actor, state.entered_at, state.reason):
            found.append(f"{release_id}/{number}: the ledger tells what the route never did: {told}")
    ends = [e.kind for e in rows if e.kind in PHASES and Phase(e.kind).is_end]
    if len(ends) > 1:
        found.append(f"{release_id}: two decisions, {ends}")
    settled = [e for e in events if e.kind == SETTLED]
    if last.phase.is_end and len(settled) != 1:
        found.append(f"{release_id}: settled {len(settled)} times")
    return found


def end_of(home: Home) -> dict[str, Any]:
    """The end state, without times and without what may honestly differ between two runs."""
    state = read_state(home.store, NAME)
    return {
        "route": None if state is None else [state.version, state.phase.value, state.split.model_dump()],
        "services": sorted(_names(home, INFERENCE_SERVICE)),
        "rules": sorted(_names(home, DESTINATION_RULE)),
        "aliases": home.aliases(),
        "decisions": [[r.version, r.phase.value] for r in home.ledger.releases()],
        "marked": sorted(mark.model_version for mark in home.ledger.marks()),
    }


def standing(home: Home) -> str:
    """All that any process reads, as one digest: with equal ones two homes go on in the same way for good."""
    with closing(sqlite3.connect(home.store.path)) as db:
        objects = db.execute("SELECT kind, name, manifest, status FROM objects ORDER BY kind, name").fetchall()
    rows = sorted((e.key, e.at.isoformat(), json.dumps(e.body, sort_keys=True)) for e in home.ledger.events())
    files = [(p.name, p.stat().st_size) for p in sorted((home.path / "logs").rglob("*.jsonl"))]
    instances = sorted((i["service"], i["generation"]) for i in home.store.instances())
    running = sorted(p.name.partition("-v")[2].split("-")[0] for p in (home.path / "platform").rglob("running/*"))
    asked = (home.path / "run_is_asked_for").exists()
    text = json.dumps([objects, rows, files, instances, running, asked, home.aliases()])
    return hashlib.sha256(text.encode()).hexdigest()


def is_clean_roll_back(end: dict[str, Any], usual: dict[str, Any]) -> bool:
    """The last release ended without its model, and all before it as usual."""
    stopped = {Phase.HELD.value, Phase.ROLLED_BACK.value, Phase.REJECTED.value}
    others = end["decisions"][:-1] == usual["decisions"][:-1] and len(end["decisions"]) == len(usual["decisions"])
    return bool(others and end["decisions"][-1][1] in stopped)
