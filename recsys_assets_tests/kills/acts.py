"""What each process does when its turn comes: the product's own code, at the harness's clock.

Here: a function for each process that writes state. Not here: when it is called (schedule.py), or killed (runs.py).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path, PurePath
from typing import Any

import orjson

from recsys_assets.platform.interface import INFERENCE_SERVICE
from recsys_assets.records import Decision, Outcome, Phase
from recsys_assets.rollout import people
from recsys_assets.rollout.act import move, read_state
from recsys_assets.rollout.desk import ReleaseRefused
from recsys_assets.rollout.guard import watch
from recsys_assets.rollout.route import planned_split
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.tick import tick
from recsys_assets.serving.exposures import ExposureLog
from recsys_assets.serving.feedback_log import FeedbackLog
from recsys_assets.serving.manifests import inference_service
from recsys_assets_tests.kills.home import NAME, Home, a_plan, reconciler, register
from recsys_assets_tests.rollout.build import later, model

ROUND_SECONDS = 5.0
REQUESTS, BATCH = 320, 160
ITEMS = ["a", "b", "c"]


def serve(home: Home, what: str) -> None:
    """The model servers' answers of one round, as the route splits the users, and the gateway's rows of them.

    `what` is wrong with the new version: `errors`, `quality`, `empty` or nothing.
    """
    state = read_state(home.store, NAME)
    if state is None:
        return
    _finish_rows(home)
    share, shadow = state.split.canary_weight_bp / 10_000, state.split.shadow is not None
    stable = state.split.stable.rpartition("-v")[2]
    log = ExposureLog(home.path / "logs" / "exposures" / "recommender.jsonl")
    for first in range(0, REQUESTS, BATCH):
        rows = [_row(home, i, share) for i in range(first, first + BATCH)]
        versions = {"canary": state.version, "stable": stable, "shadow": state.version}
        answered = [r for r in rows if not (what == "errors" and r["variant"] == "canary" and r["number"] % 2)]
        copies = [r | {"variant": "shadow"} for r in rows] if shadow else []
        log.write(b"".join(_exposure(r, versions, what) for r in [*answered, *copies]), len(answered) + len(copies))
        failed = {r["request_id"] for r in rows} - {r["request_id"] for r in answered}
        _gateway(home, rows, versions, failed)
    log.close()


def _row(home: Home, i: int, share: float) -> dict[str, Any]:
    canary = int((i + 1) * share) > int(i * share)
    number = int(i * share) if canary else i - int(i * share)
    # In the last second before this round: whoever moved the route in the round before has done so.
    begin = home.at // ROUND_SECONDS * ROUND_SECONDS
    at = later(begin - 0.9 + 0.8 * i / REQUESTS)
    name = f"{begin:g}-{i}"
    return {
        "request_id": f"r{name}",
        "visitor_id": f"u{name}",
        "at": at,
        "variant": "canary" if canary else "stable",
        "number": number,
    }


def _exposure(row: dict[str, Any], versions: dict[str, str], what: str) -> bytes:
    bad = what == "empty" and row["variant"] in {"canary", "shadow"}
    line = {"request_id": row["request_id"], "served_at": row["at"].isoformat(timespec="microseconds")}
    line |= {"visitor_id": row["visitor_id"], "user_id": row["visitor_id"], "variant": row["variant"], "flags": []}
    line |= {"model_version": versions[row["variant"]], "rung": "full", "items": [] if bad else ITEMS}
    line |= {"scores": [] if bad else [1.0, 1.0, 1.0], "latency_ms": 5.0}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _finish_rows(home: Home) -> None:
    """Envoy outlives a model server: it writes the rows of answers that were given before the server was killed."""
    path = home.path / "logs" / "gateway" / "access.jsonl"
    tails = [_tail(home.path / "logs" / "exposures" / "recommender.jsonl"), _tail(path)]
    given, written = ({row["request_id"]: row for row in rows if row["variant"] != "shadow"} for rows in tails)
    for name in [name for name in list(given)[-BATCH:] if name not in written]:
        row = given[name] | {"at": datetime.fromisoformat(given[name]["served_at"])}
        _gateway(home, [row], {row["variant"]: row["model_version"]}, set())


def _tail(path: Path) -> list[dict[str, Any]]:
    """The whole rows among the last of a file."""
    content = path.read_bytes()[-200_000:] if path.exists() else b""
    return [orjson.loads(line) for line in content.split(b"\n")[1:-1]]


def _gateway(home: Home, rows: list[dict[str, Any]], versions: dict[str, str], failed: set[str]) -> None:
    """Envoy's rows: the harness's own stand-in, in Envoy's own form."""
    path = home.path / "logs" / "gateway" / "access.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in rows:
        good = row["request_id"] not in failed
        version = versions[row["variant"]]
        line = {"request_id": row["request_id"], "served_at": row["at"].isoformat(timespec="microseconds")}
        line |= {"visitor_id": row["visitor_id"], "variant": row["variant"], "service": f"{NAME}-v{version}"}
        line |= {"status": 200 if good else 500, "duration_us": 5_000, "route": "recommendations"}
        line |= {"model_version": version, "rung": "full"} if good else {"model_version": None, "rung": None}
        lines.append(json.dumps(line))
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def collect(home: Home, what: str) -> None:
    """The clients' clicks of one round, through the collector's own log; a client that got no answer sends again."""
    lines = []
    state = read_state(home.store, NAME)
    share = 0.0 if state is None else state.split.canary_weight_bp / 10_000
    for i in range(REQUESTS):
        row = _row(home, i, share)
        often = 0.1 if what == "quality" and row["variant"] == "canary" else 0.6
        if (row["number"] * 7) % 10 < often * 10:
            event = {"event_id": f"{row['request_id']}:a", "request_id": row["request_id"], "item_id": "a"}
            event |= {"event_type": "click", "received_at": (row["at"] + timedelta(seconds=0.1)).isoformat()}
            lines.append((event["event_id"], orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)))

    async def send() -> None:
        log = FeedbackLog(home.path / "logs" / "feedback" / "collector.jsonl")
        for first in range(0, len(lines), 100):
            await log.add(lines[first : first + 100])
        log.close()

    asyncio.run(send())


def sensor(home: Home, what: str) -> None:
    """The code server's look; a run that it asks for comes next."""
    import dagster as dg

    from recsys_assets.rollout.sensors import evaluate
    from recsys_assets.rollout.shown.events import Board

    class Dark(Board):
        """Dagster's own store is not what is killed here: nothing is shown, and no picture is drawn at each look."""

        def show(self, desk: object, view: object) -> None: ...

        def show_champion(self, desk: object) -> None: ...

    asked = evaluate(home.desk(gate=_gate(what)), Dark(home.instance(), "http://127.0.0.1:3000"))
    flag = home.path / "run_is_asked_for"
    if isinstance(asked, dg.RunRequest):
        flag.touch()


def run(home: Home, what: str) -> None:
    """A run of `advance_release`, if the sensor asked for one."""
    flag = home.path / "run_is_asked_for"
    if flag.exists():
        flag.unlink()
        tick(home.desk(gate=_gate(what)), actor="dagster run")


def guard(home: Home, what: str) -> None:
    watch(home.post())


def platform(home: Home, what: str) -> None:
    """One pass of the reconciler."""
    made = reconciler(home)
    made.run_once()
    made.close()


def deploy(home: Home, version: str) -> None:
    """What training and `challenger_service` write."""
    of = model(version)
    register(home, version)
    home.registry.set_alias("challenger", version)
    # Paths that are the same in every copy of the home: nobody opens them here.
    folder, root = PurePath("bundles", version), PurePath("home")
    manifest = inference_service(of, role="challenger", bundle_path=folder, home=root, python=sys.executable)
    standing = home.store.get(INFERENCE_SERVICE, of.service_name)
    expected = None if standing is None else str(standing["metadata"]["resourceVersion"])
    home.store.apply(manifest, expected=expected)


def begin(home: Home, version: str) -> None:
    """A run opens the release."""
    _release(home, version)


def begin_with_approval(home: Home, version: str) -> None:
    _release(home, version, needs_approval=True)


def begin_quick(home: Home, version: str) -> None:
    _release(home, version, steps_bp=(5_000,), shadow_requests=0, bake_seconds=0)


def _release(home: Home, version: str, **changes: Any) -> None:
    try:
        open_release(home.desk(), model(version), a_plan(**changes), actor="dagster run")
    except ReleaseRefused as refused:
        _said_twice(refused)


def approve(home: Home, _: str) -> None:
    _say(lambda: people.approve(home.desk(), _current(home), who="ann", why="looks well"))


def roll_back(home: Home, _: str) -> None:
    _say(lambda: people.rollback_now(home.desk(), _current(home), who="ann", why="looks odd"))


def roll_back_and_die(home: Home, _: str) -> None:
    """A roll-back by somebody who died before anything followed."""
    state = read_state(home.store, NAME)
    assert state is not None
    decision = Decision(
        release_id=state.release.release_id,
        action="roll_back",
        phase=Phase.ROLLED_BACK,
        step=state.step,
        split=planned_split(state.release, Phase.ROLLED_BACK, state.step),
        reason="ann: looks odd",
    )
    move(home.store, home.ledger, state, decision, actor="ann", now=home.clock())


def pause(home: Home, _: str) -> None:
    _say(lambda: people.pause(home.desk(), _current(home), who="ann", why="one moment"))


def resume(home: Home, _: str) -> None:
    _say(lambda: people.resume(home.desk(), _current(home), who="ann", why="go on"))


def override(home: Home, version: str) -> None:
    _say(lambda: people.override(home.desk(), model(version).bundle_digest, who="ann", why="the store was down"))


def _say(word: Callable[[], object]) -> None:
    try:
        word()
    except ReleaseRefused as refused:
        _said_twice(refused)


def _said_twice(refused: ReleaseRefused) -> None:
    """A word that is said again after a kill may be refused because it was heard; what it did shows in the end."""
    sys.stderr.write(f"refused: {refused}\n")


def _current(home: Home) -> str:
    state = read_state(home.store, NAME)
    return "none" if state is None else state.release.release_id


def _gate(what: str) -> Outcome:
    return Outcome.FAIL if what == "gate" else Outcome.PASS


ACTS: dict[str, Callable[[Home, str], None]] = {
    "server": serve,
    "collector": collect,
    "sensor": sensor,
    "run": run,
    "guard": guard,
    "platform": platform,
    "deploy": deploy,
    "open": begin,
    "open_asking": begin_with_approval,
    "open_quick": begin_quick,
    "approve": approve,
    "roll_back": roll_back,
    "roll_back_and_die": roll_back_and_die,
    "pause": pause,
    "resume": resume,
    "override": override,
}
# What is said once, at a set time; whoever is killed while saying it says it again, and so does a client that sends.
SAID = frozenset({"deploy", "open", "open_asking", "open_quick", "approve", "roll_back", "pause", "resume", "override"})
REPEATED = SAID | {"collector"}
