"""The story that the claims of test_story.py are about, played once: releases on the cluster, and what is done to them.

Here: the acts, in order, and the record that they leave. Not here: watching (witness.py), any claim.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import NotReadyError
from cluster.processes import poll
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import INFERENCE_SERVICE, NotFound
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets.records import Phase
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.ledger_postgres import PostgresBook
from recsys_assets.serving.faults import Drill
from recsys_assets.traffic.client import Tally
from recsys_assets_tests.cluster.dagster_runs import ENDS, Ended, ended, launch, materialized, status, wait_loaded, why
from recsys_assets_tests.cluster.house import MODEL_S3, Around
from recsys_assets_tests.cluster.installed import NAMESPACE, Installed
from recsys_assets_tests.cluster.witness import RouteWatch, people_who_click, returning_visitors
from recsys_assets_tests.journeys import town
from recsys_assets_tests.serving.switching import switch_on

if TYPE_CHECKING:
    from datetime import date

MODEL = "films"
SECONDS = 1_200.0
# The parts that decide and arrange, and are in nobody's path: name, namespace, and the label of their pods.
CONTROLLERS = {
    "istiod": ("istio-system", "app=istiod"),
    "kserve": ("kserve", "control-plane=kserve-controller-manager"),
    "guard": (NAMESPACE, "app.kubernetes.io/component=guard"),
    "dagster daemon": (NAMESPACE, "component=dagster-daemon"),
}
SERVER_KILLS = 6
AGAIN = ("challenger_service", "shadow_comparison", "canary", "champion")


@dataclass(frozen=True)
class Span:
    """What was going on from when to when, in Unix seconds."""

    name: str
    began: float
    ended: float


@dataclass
class Played:
    """Everything that the story left behind. `runs` by act; `reasons`: what a service said while it was not ready."""

    installed: Installed
    platform: KubernetesPlatform
    ledger: Ledger
    answers: Path
    watch: RouteWatch
    runs: dict[str, Ended] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    kills: list[tuple[str, float]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    switched_on: float = 0.0
    run_id: str = ""
    clicks: Tally = field(default_factory=Tally)

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        began = time.time()
        print(f"{time.strftime('%X')} {name}", flush=True)  # noqa: T201
        try:
            yield
        finally:
            self.spans.append(Span(name, began, time.time()))

    def span(self, name: str) -> Span:
        return next(span for span in self.spans if span.name == name)


def play(dagster: Installed, around: Around, folder: Path) -> Played:
    """All acts. A run that did not come to its expected end fails here, with what it said."""
    settings = KubernetesSettings(namespace=NAMESPACE, kubeconfig=str(dagster.cluster.kubeconfig))
    platform = KubernetesPlatform(settings)
    played = Played(
        dagster,
        platform,
        Ledger(PostgresBook(around.urls["ledger"])),
        folder / "answers.jsonl",
        RouteWatch(KubernetesPlatform(settings), MODEL, dagster.gateway),
    )
    wait_loaded(dagster)
    with played.during("data"):
        _land(played, None, town.FIRST_AS_OF)
    played.watch.start()
    with played.during("first release"):
        _release(played, "first release", "SUCCESS")
    try:
        with (
            returning_visitors(dagster.gateway, MODEL, played.answers),
            people_who_click(dagster.gateway, MODEL, around.token) as played.clicks,
        ):
            _under_traffic(played, around)
    finally:
        played.watch.ended.set()
        played.watch.join(30)
    return played


def _under_traffic(played: Played, around: Around) -> None:
    with played.during("more data"):
        _land(played, town.FIRST_AS_OF, town.SECOND_AS_OF)
    with played.during("promoted"):
        _promoted(played)
    with played.during("servers killed"):
        _kill_servers(played)
    with played.during("rolled back"):
        _rolled_back(played)
    with played.during("never ready"), _without_bundles(played, around):
        _release(played, "never ready", "FAILURE")
    with played.during("no longer ready"):
        _no_longer_ready(played, around)


def _land(played: Played, first: date | None, end: date) -> None:
    """Land days, and wait until the sensors have had them taken in, up to their features."""
    home = played.installed.home
    if first is None:
        town.land_catalogue(home)
    days = town.days(first or town.START, end)
    town.land(home, *days)
    wanted = {day.isoformat() for day in days}
    for asset in ("interactions", "user_features", "item_features"):
        poll(
            f"{asset} of {len(days)} days, by the sensors",
            lambda name=asset: wanted <= set(materialized(played.installed, name)),
            SECONDS,
            every_seconds=2.0,
        )
    poll("items", lambda: bool(materialized(played.installed, "items")), SECONDS, every_seconds=2.0)


def _release(played: Played, act: str, expected: str, meanwhile: Callable[[], None] | None = None) -> None:
    run_id = played.run_id = launch(played.installed, "release")
    _finish(played, act, run_id, expected, meanwhile)


def _finish(played: Played, act: str, run_id: str, expected: str, meanwhile: Callable[[], None] | None = None) -> None:
    if meanwhile is not None:
        try:
            meanwhile()
        except NotReadyError as late:
            raise AssertionError(f"{act}: {late}\n{why(played.installed, run_id)}") from late
    over = ended(played.installed, run_id, seconds=SECONDS)
    played.runs[act] = over
    print(f"{time.strftime('%X')} {act}: {over.status}", flush=True)  # noqa: T201
    assert over.status == expected, f"{act}: {over.status}\n{why(played.installed, run_id)}"


def _wait_phase(played: Played, version: str, *phases: Phase) -> None:
    wanted = f"version {version} being {' or '.join(phases)}"

    def stands() -> bool:
        assert played.watch.is_alive(), "nobody watches any more"
        last = played.watch.seen[-1] if played.watch.seen else None
        if last is not None and last.version == version and last.phase in phases:
            return True
        if status(played.installed, played.run_id) in ENDS:
            raise NotReadyError(f"{wanted}: the run is over, and the route tells {last}")
        return False

    poll(wanted, stands, SECONDS, every_seconds=1.0)


def _promoted(played: Played) -> None:
    """The second release goes through, while everything that decides and arranges is killed under it, one by one."""

    def kill_controllers() -> None:
        _wait_phase(played, "2", Phase.CANARY)
        with played.during("controllers killed"):
            for name, (namespace, label) in CONTROLLERS.items():
                _kill(played, name, namespace, label)

    _release(played, "promoted", "SUCCESS", kill_controllers)


def _kill_servers(played: Played) -> None:
    """The champion's servers are killed one after the other, each when the one before it is back."""
    label = f"serving.kserve.io/inferenceservice={MODEL}-v2"
    for _ in range(SERVER_KILLS):
        _kill(played, "server", NAMESPACE, label)


def _rolled_back(played: Played) -> None:
    """The third model starts to fail once users see it."""

    def break_it() -> None:
        _wait_phase(played, "3", Phase.CANARY)
        poll(
            "users of the canary",
            lambda: bool(played.watch.in_force) and played.watch.in_force[-1].canary == "3",
            SECONDS,
        )
        switch_on(played.installed.home, f"{MODEL}-v3", Drill.of("failing"))
        played.switched_on = time.time()

    _release(played, "rolled back", "FAILURE", break_it)


def _no_longer_ready(played: Played, around: Around) -> None:
    """The fourth is tried again with its bundle at hand; then one of its servers is gone and cannot come back."""
    act, service = "no longer ready", f"{MODEL}-v4"

    def over() -> bool:
        _note_reason(played, service)
        return played.watch.seen[-1].phase not in {Phase.CANARY, Phase.BAKING}

    def lose_one() -> None:
        _wait_phase(played, "4", Phase.CANARY)
        with _without_bundles(played, around):
            _delete_one(played, NAMESPACE, f"serving.kserve.io/inferenceservice={service}", grace=30)
            poll("the end of the release", over, SECONDS, every_seconds=0.5)

    run_id = played.run_id = launch(played.installed, "release", assets=AGAIN)
    _finish(played, act, run_id, "FAILURE", lose_one)


def _note_reason(played: Played, service: str) -> None:
    try:
        status = played.platform.status(INFERENCE_SERVICE, service)
    except NotFound:
        return
    if not status.ready and status.reason not in played.reasons:
        played.reasons.append(status.reason)


@contextmanager
def _without_bundles(played: Played, around: Around) -> Iterator[None]:
    """Model servers have credentials that the bucket refuses, as after a rotation that went wrong."""
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/{MODEL_S3}"
    api = played.installed.cluster.api
    before = api.request("GET", path)["data"]

    def write(data: dict[str, str]) -> None:
        api.request("PATCH", path, json.dumps({"data": data}), "application/merge-patch+json")

    write({"AWS_SECRET_ACCESS_KEY": base64.b64encode(b"of-yesterday").decode()})
    try:
        yield
    finally:
        write(before)


def _pods(played: Played, namespace: str, label: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={label}"
    found: list[dict[str, Any]] = played.installed.cluster.api.request("GET", path)["items"]
    return found


def _ready(pod: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True"


def _delete_one(played: Played, namespace: str, label: str, *, grace: int) -> str:
    name: str = next(pod["metadata"]["name"] for pod in _pods(played, namespace, label) if _ready(pod))
    path = f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds={grace}"
    played.installed.cluster.api.request("DELETE", path)
    return name


def _kill(played: Played, what: str, namespace: str, label: str) -> None:
    """Without any grace: its containers get SIGKILL at once. Returns when as many are ready as were."""
    before = sum(map(_ready, _pods(played, namespace, label)))
    gone = _delete_one(played, namespace, label, grace=0)
    played.kills.append((what, time.time()))

    def replaced() -> bool:
        pods = _pods(played, namespace, label)
        return gone not in {pod["metadata"]["name"] for pod in pods} and sum(map(_ready, pods)) >= before

    poll(f"another {what} in place of {gone}", replaced, SECONDS)
