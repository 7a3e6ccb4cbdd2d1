"""Playing one drill on the running system: refuse, launch the same `release` job as always, follow it to its end.

Here: order and waiting. No gate is left out or shortened: a drill's model is fitted, judged and released like any
other, and its server alone misbehaves. Not here: what the logs tell afterwards (reading.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx

from recsys_assets.drills.kinds import Kind
from recsys_assets.drills.webserver import ENDED, Webserver
from recsys_assets.errors import UserFacingError
from recsys_assets.rollout.ledger import OPENED, PHASES, Event, open_ledger
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.rollout.route import RouteState

RELEASE_JOB: Final = "release"
# From the ranker on, on the rows that the newest training read: every gate that asks about a version is among them.
FROM_THE_RANKER_ON: Final = (
    "ranker_model",
    "evaluation_report",
    "challenger_service",
    "shadow_comparison",
    "canary",
    "champion",
)
DRILL_TAG: Final = "recsys-assets/drill"
LOOK_SECONDS: Final = 0.5


class DrillRefused(UserFacingError):  # noqa: N818
    """Now is no time for a drill; the message says why."""


class DrillUnfinished(Exception):  # noqa: N818
    """It did not end in time; the release goes on, guarded as ever, and ends at its own deadline."""


@dataclass(frozen=True)
class Played:
    """What came of it: the run, its end, and the release, None where the gates let none begin."""

    kind: Kind
    run_id: str
    status: str
    release_id: str | None


def refuse_unless_ready(settings: Settings, webserver: Webserver, state: RouteState | None) -> None:
    """Raise DrillRefused or DagsterAway unless the system runs, has a champion and releases nothing."""
    if under_way := webserver.under_way(RELEASE_JOB):
        raise DrillRefused(f"a release is under way: run {under_way[0]} of the job {RELEASE_JOB}")
    if state is None:
        raise DrillRefused("there is no champion yet; a drill needs one to fall back to")
    if not state.phase.is_end:
        raise DrillRefused(f"a release is under way: {state.release.release_id} is {state.phase.value}")
    gateway = settings.gateway_url
    try:
        answered = httpx.post(
            f"{gateway}/v1/models/{settings.model_name}:predict",
            json={"instances": [{"user_id": "drill", "k": 1}]},
            headers={"x-user-id": "drill"},
            timeout=10,
            trust_env=False,
        ).status_code
    except httpx.HTTPError as away:
        raise DrillRefused(f"the gateway does not answer at {gateway}: {away}; is it running?") from None
    if answered != 200:
        raise DrillRefused(f"the gateway at {gateway} answers {answered}: not well enough for a drill")


def route_now(settings: Settings) -> RouteState | None:
    """The release on the route, or None where there is none."""
    from recsys_assets.platform.build import has_platform, open_platform
    from recsys_assets.rollout.act import read_state

    if not has_platform(settings):
        return None
    return read_state(open_platform(settings), settings.model_name)


def play(
    settings: Settings, kind: Kind, *, timeout_seconds: float, tell: Callable[[str], None], by: str = "a person"
) -> Played:
    """Let a bad model in and watch what becomes of it."""
    webserver = Webserver.of(settings)
    refuse_unless_ready(settings, webserver, route_now(settings))
    tags = {DRILL_TAG: kind, "recsys-assets/by": by}
    deadline = time.monotonic() + timeout_seconds
    played = _run(settings, kind, webserver, tags, FROM_THE_RANKER_ON, deadline=deadline, tell=tell)
    if played.release_id is None:
        tell(f"{kind}: no release began; once more from the rows on")
        played = _run(settings, kind, webserver, tags, (), deadline=deadline, tell=tell)
    return played


def _run(
    settings: Settings,
    kind: Kind,
    webserver: Webserver,
    tags: Mapping[str, str],
    assets: Sequence[str],
    *,
    deadline: float,
    tell: Callable[[str], None],
) -> Played:
    """One run of the job `release`, followed to its end."""
    ledger, began = open_ledger(settings), datetime.now(UTC)
    config = {"ops": {"ranker_model": {"config": {"drill": kind}}}}
    run_id = webserver.launch(RELEASE_JOB, config=config, tags=tags, assets=assets)
    tell(f"{kind}: run {run_id} of the job {RELEASE_JOB} trains, judges and releases the model")
    seen = len(ledger.events())
    while True:
        status = webserver.status(run_id)
        events = ledger.events()
        for line in filter(None, map(told, events[seen:])):
            tell(line)
        seen = len(events)
        if status in ENDED:
            return Played(kind, run_id, status, opened_since(events, kind, began))
        if time.monotonic() > deadline:
            raise DrillUnfinished(f"{kind}: run {run_id} of the job {RELEASE_JOB} is still {status}")
        time.sleep(LOOK_SECONDS)


def opened_since(events: list[Event], kind: str, since: datetime) -> str | None:
    """The release of this drill that was opened since, by the ledger."""
    for event in reversed(events):
        if event.kind == OPENED and event.at >= since and (event.body.get("model") or {}).get("drill") == kind:
            return event.release_id
    return None


def told(event: Event) -> str | None:
    """A move of a release in one line; None for rows that move nothing."""
    if event.kind not in PHASES and event.kind != OPENED:
        return None
    share = f" at {event.body.get('weight_bp', 0) / 100:g} %" if event.kind == "canary" else ""
    return f"{event.at:%H:%M:%S} {event.release_id} {event.kind}{share}: {event.body.get('reason', '')}"
