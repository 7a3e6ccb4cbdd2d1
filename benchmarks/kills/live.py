"""Live kills: random and double ones over all nine processes of a running stack, each judged by its end state.

Here: killing, waiting for the oracle, counting. Not here: users' requests (`control_plane_kills.py`).
The oracle: the route's weights sum to 100 % and are the planned ones, the gateway has exactly them in force, no release
was decided twice, and the stack is whole and serving again, all within 30 s.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import defaultdict

from benchmarks.kills import judge, killer
from benchmarks.kills.works import Releaser, Works
from recsys_assets.platform.interface import VIRTUAL_SERVICE, PlatformError
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.supervisor import Supervisor
from recsys_assets.rollout.ledger import Ledger
from recsys_assets_tests.platform.homes import running_programs

ENDS = ("champion", "rolled_back", "held", "rejected")
CONVERGED_SECONDS = 30.0
DOUBLE_SHARE = 1 / 3


def live_kills(
    works: Works, releaser: Releaser, *, seed: int, kills: int, seconds: float
) -> dict[str, float | int | str]:
    """Kill until there were so many, or until the time is over."""
    hand, slowest, bad, rounds = killer.Killer(works.settings, seed + 2), 0.0, list[str](), 0
    deadline = time.monotonic() + seconds
    opened = releaser.opened
    while len(hand.killed) < kills and time.monotonic() < deadline:
        before = len(hand.killed)
        for part in hand.draw.sample(killer.NINE, 2 if hand.draw.random() < DOUBLE_SHARE else 1):
            hand.kill(part)
        if len(hand.killed) == before:
            continue
        rounds += 1
        took, why = converged(works)
        slowest = max(slowest, took)
        names = [part for _, part, _ in hand.killed[before:]]
        print(f"{time.strftime('%X')} {names}: {took:.1f} s {why}", flush=True)
        if why:
            bad.append(f"{names}: {why}")
    releaser.stop()
    twice = sum(len(set(found)) > 1 for found in decisions_per_release(works.desk.ledger).values())
    wrong = [s for _, s in judge.route_history(works.store.path) if s.manual_edit is not None]
    figures: dict[str, float | int | str] = {
        "live_kills": len(hand.killed),
        "live_rounds": rounds,
        "live_releases_opened": releaser.opened - opened,
        "live_bad_end_states": len(bad) + twice + len(wrong),
        "live_not_converged_in_30_s": len(bad),
        "live_releases_decided_twice": twice,
        "live_unplanned_weights": len(wrong),
        "slowest_live_convergence_seconds": round(slowest, 2),
    }
    parts = hand.counts(killer.NINE).items()
    return figures | {f"live_kills_{part.replace(' ', '_')}": n for part, n in parts}


def converged(works: Works) -> tuple[float, str]:
    """How long until nothing was wrong, and what still was at the end of the time."""
    began = time.monotonic()
    while (why := wrong_now(works)) and time.monotonic() - began < CONVERGED_SECONDS:
        time.sleep(0.1)
    return time.monotonic() - began, why


def wrong_now(works: Works) -> str:
    """What is not as it should be, or an empty string."""
    try:
        states = running_programs(works.settings)
        wanted = set(stack.ALL) & set(Supervisor(works.settings).written())
        down = sorted(name for name in wanted if name not in states or not states[name].is_running)
        if down:
            return f"down: {', '.join(down)}"
        return _wrong_route(works) or _wrong_answer(works)
    except (PlatformError, OSError, http.client.HTTPException, ValueError) as problem:
        return str(problem)


def _wrong_route(works: Works) -> str:
    state, name = works.state(), works.settings.model_name
    if state is None:
        return "no route"
    if state.manual_edit:
        return state.manual_edit
    status, split = works.store.status(VIRTUAL_SERVICE, name), state.split
    wanted = {split.stable: 10_000 - split.canary_weight_bp} | (
        {split.canary: split.canary_weight_bp} if split.canary else {}
    )
    if sum(wanted.values()) != 10_000 or not status.ready or dict(status.weights) != wanted:
        return f"asked {wanted}, in force {dict(status.weights)}: {status.reason}"
    return _wrong_gateway(works, split.canary_weight_bp)


def _wrong_gateway(works: Works, canary_bp: int) -> str:
    serving = works.settings.serving
    connection = http.client.HTTPConnection(serving.host, serving.gateway_admin_port, timeout=5)
    try:
        connection.request("GET", "/config_dump?resource=dynamic_route_configs")
        [config] = json.loads(connection.getresponse().read())["configs"]
    finally:
        connection.close()
    found = judge.in_force(config, works.settings.model_name)
    return "" if found is not None and found.canary_bp == canary_bp else f"Envoy has {found}, not {canary_bp} bp"


def _wrong_answer(works: Works) -> str:
    serving = works.settings.serving
    connection = http.client.HTTPConnection(serving.host, serving.gateway_port, timeout=5)
    try:
        body = json.dumps({"instances": [{"user_id": "u01", "k": 5}]})
        head = {"x-user-id": "oracle", "content-type": "application/json"}
        connection.request("POST", f"/v1/models/{works.settings.model_name}:predict", body, head)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return "" if answer.status == 200 else f"the gateway answers {answer.status}"


def decisions_per_release(ledger: Ledger) -> dict[str, list[str]]:
    """How each release ended, by its ledger: one word, or something is wrong."""
    found = defaultdict[str, list[str]](list)
    for event in ledger.events():
        if event.kind in ENDS:
            found[event.release_id].append(event.kind)
    return dict(found)
