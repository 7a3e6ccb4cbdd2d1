"""Who watches the story from outside: the gateway's own word about the route, and clients that write down each answer.

Here: watching and sending. Not here: what happens meanwhile (story.py), judging answers (benchmarks/kills/judge.py).
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from benchmarks.kills.judge import InForce
from recsys_assets.platform.interface import PlatformError
from recsys_assets.platform.kubernetes.gateways import ask_over_http, ask_pods
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.route import RouteState
from recsys_assets.traffic.client import Tally, replay
from recsys_assets.traffic.visitors import Visitor, draw_visitors, wanted_by_user
from recsys_assets_tests.journeys import town

LOOK_SECONDS = 0.05
# Half of the load are people who come once and click, half are visitors who return again and again.
RATE, RETURNING = 30.0, 1_500


@dataclass(frozen=True)
class Standing:
    """Where the release stood from `at` on, by the route object."""

    at: float
    release_id: str
    version: str
    phase: Phase
    weight_bp: int


class RouteWatch(threading.Thread):
    """Asks gateway and route object again and again. `in_force`: what the gateway did; `seen`: what was asked of it."""

    def __init__(self, platform: KubernetesPlatform, model: str, gateway: str) -> None:
        super().__init__(daemon=True)
        self._platform, self._model, self._host = platform, model, urlsplit(gateway).netloc
        self.in_force, self.seen = list[InForce](), list[Standing]()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(LOOK_SECONDS):
            try:
                state = read_state(self._platform, self._model)
                told = self._weights()
            except PlatformError:
                continue  # the API server is busy; the next look tells
            if state is not None:
                self._note(state)
                if told:
                    self._note_gateway(state, told)

    def _weights(self) -> dict[str, int]:
        (told,) = ask_pods(self._platform.settings, {"gateway": self._host}, ask_over_http)
        return dict(told.weights)

    def _note(self, state: RouteState) -> None:
        release = state.release
        now = Standing(time.time(), release.release_id, state.version, state.phase, state.split.canary_weight_bp)
        if not self.seen or _same(self.seen[-1]) != _same(now):
            self.seen.append(now)

    def _note_gateway(self, state: RouteState, weights: dict[str, int]) -> None:
        """Two services are a canary, whose release salts the buckets, and stable; one alone is stable."""
        release = state.release
        canary = release.model.service_name if len(weights) > 1 else None
        stable = next((name for name in weights if name != canary), "")
        now = InForce(
            time.time(), release.release_id, _version(canary or ""), weights.get(canary or "", 0), _version(stable)
        )
        if not self.in_force or replace(self.in_force[-1], at=now.at) != now:
            self.in_force.append(now)


def _version(service: str) -> str:
    return service.rpartition("-v")[2]


def _same(standing: Standing) -> tuple[str, Phase, int]:
    return (standing.release_id, standing.phase, standing.weight_bp)


@contextmanager
def returning_visitors(gateway: str, model: str, out: Path) -> Iterator[None]:
    """An open-loop process of visitors who come again and again; each answer is a line of `out`."""
    stop = out.with_suffix(".stop")
    command = [sys.executable, "-m", "benchmarks.kills.clients", "--url", gateway, "--model", model]
    command += ["--requests", str(10**7), "--rate", str(RATE), "--visitors", str(RETURNING)]
    sending = subprocess.Popen([*command, "--out", str(out), "--stop", str(stop)])
    try:
        yield
    finally:
        stop.touch()
        try:
            sending.wait(60)
        finally:
            sending.kill()


@contextmanager
def people_who_click(gateway: str, model: str, token: str) -> Iterator[Tally]:
    """People of the town who look at what they are shown and report their clicks with a client's token."""
    ended, tally = threading.Event(), Tally()

    def note(now: Tally) -> None:
        tally.statuses, tally.variants = now.statuses, now.variants
        tally.clicks, tally.unacknowledged = now.clicks, now.unacknowledged

    def send() -> None:
        visitors = itertools.takewhile(lambda _: not ended.is_set(), _visitors())
        asyncio.run(
            replay(
                visitors,
                gateway=gateway,
                model=model,
                rate=RATE,
                top_k=10,
                seed=7,
                token=token,
                in_flight=256,
                on_progress=note,
            )
        )

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    try:
        yield tally
    finally:
        ended.set()
        sending.join(60)


def _visitors() -> Iterator[Visitor]:
    events = town.events().with_columns(
        event_time=pl.from_epoch("timestamp", time_unit="s").dt.replace_time_zone("UTC")
    )
    before = events.filter(pl.col("day") < town.SECOND_AS_OF)
    seen = {user: frozenset(items) for user, items in before.group_by("user_id").agg("item_id").iter_rows()}
    after = events.filter(pl.col("day") >= town.SECOND_AS_OF)
    start = after["event_time"].min()
    wanted = wanted_by_user(after, after=start, seen=seen)  # type: ignore[arg-type]
    return draw_visitors(wanted, frozenset(seen), count=10**7, new_share=0.1, seed=7, run="story")
