"""Starting and stopping whole stacks: races, kills, long paths, taken ports, nothing left behind.

Here: claims about processes. Not here: what the gateway does with requests (`test_gateway.py`).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from recsys_assets.platform.interface import INFERENCE_SERVICE, Unavailable
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.locks import only_one
from recsys_assets.platform.local.processes import is_alive
from recsys_assets.platform.local.programs import COLLECTOR, ENVOY, KEEPER, RECONCILER
from recsys_assets.platform.local.store import is_locked
from recsys_assets.platform.local.supervisor import Supervisor, socket_path
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.settings import Settings
from recsys_assets_tests.platform.homes import Home, make_settings, running_programs
from recsys_assets_tests.waiting import eventually

pytestmark = pytest.mark.slow
TWO = (RECONCILER, ENVOY)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = make_settings(tmp_path / "a home, with 'spaces'")
    yield made
    stack.stop(made)


def processes(settings: Settings) -> list[psutil.Process]:
    """All living processes that have to do with this home, but this one."""
    found = []
    for process in psutil.process_iter():
        try:
            words, variables = " ".join(process.cmdline()), process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        told = words + variables.get("RECSYS_HOME", "") + variables.get("SUPERVISOR_SERVER_URL", "")
        if process.pid != os.getpid() and (str(settings.home) in told or str(socket_path(settings)) in told):
            found.append(process)
    return found


def pids(settings: Settings) -> dict[str, int | None]:
    return {name: state.pid for name, state in running_programs(settings).items()}


def test_stopping_leaves_nothing_behind_and_the_next_start_brings_all_back(settings: Settings) -> None:
    stack.start(settings, TWO)
    home = Home(settings)
    home.serve("1")
    url = home.store.status(INFERENCE_SERVICE, "films-v1").url
    before = pids(settings)
    assert len(before) == 3
    stack.start(settings, TWO)
    assert pids(settings) == before
    assert processes(settings)
    stack.stop(settings)
    assert processes(settings) == []
    assert running_programs(settings) == {}
    assert list(settings.home.rglob("*.sock*")) == []
    assert not home.store.status(INFERENCE_SERVICE, "films-v1").ready
    stack.stop(settings)
    stack.start(settings, TWO)
    assert home.until_service("1", lambda s: s.ready).url == url


def test_three_starters_at_once_start_one_stack(settings: Settings) -> None:
    problems: list[Exception] = []

    def run() -> None:
        try:
            stack.start(settings, TWO)
        except Unavailable as problem:
            problems.append(problem)

    starters = [threading.Thread(target=run) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert problems == []
    names = [p for p in processes(settings) if "supervisor.supervisord" in p.cmdline()]
    assert len(names) == 1


def kill_supervisor(settings: Settings) -> None:
    supervisor = next(p for p in processes(settings) if "supervisor.supervisord" in p.cmdline())
    supervisor.kill()
    eventually(lambda: not is_alive(supervisor.pid))


def test_a_killed_supervisor_is_brought_back_and_those_who_ask_do_not_notice(settings: Settings) -> None:
    stack.start(settings, (KEEPER, *TWO))
    home = Home(settings)
    home.serve("1")
    home.route({"films-v1": 10_000})
    before, client = pids(settings), home.client()
    kill_supervisor(settings)

    def is_back() -> bool:
        assert client.ask("1")[0] == 200
        return Supervisor(settings).is_running() and is_locked(settings.path("platform", "watching.lock"))

    eventually(is_back)
    home.until_service("1", lambda s: s.ready)
    eventually(lambda: {n for n, s in running_programs(settings).items() if s.is_running} == set(before))
    after = running_programs(settings)
    serving = {ENVOY, *(n for n in before if n.startswith("model-"))}
    assert {n: after[n].pid for n in serving} == {n: before[n] for n in serving}
    assert {after[n].state for n in serving} == {"ADOPTED"}
    assert not {after[RECONCILER].pid, after[KEEPER].pid} & set(before.values())
    assert client.ask("1")[0] == 200


def test_what_was_adopted_is_replaced_when_it_ends(settings: Settings) -> None:
    stack.start(settings, TWO)
    home = Home(settings)
    home.serve("1")
    home.route({"films-v1": 10_000})
    before = {p for p in pids(settings).values() if p is not None}
    kill_supervisor(settings)
    stack.start(settings, (KEEPER, *TWO))
    adopted = [s for s in running_programs(settings).values() if s.state == "ADOPTED"]
    assert len(adopted) == 2
    for state in adopted:
        assert state.pid is not None
        os.kill(state.pid, 9)
    eventually(lambda: {s.state for s in running_programs(settings).values()} == {"RUNNING"})
    assert not before & {s.pid for s in running_programs(settings).values()}
    home.until_service("1", lambda s: s.ready)
    eventually(lambda: answers(home))


def test_the_reconciler_brings_supervisor_back_when_the_keeper_is_dead_too(settings: Settings) -> None:
    stack.start(settings, (KEEPER, *TWO))
    keeper = pids(settings)[KEEPER]
    assert keeper is not None
    kill_supervisor(settings)
    os.kill(keeper, 9)
    eventually(lambda: Supervisor(settings).is_running())
    eventually(lambda: {n for n, s in running_programs(settings).items() if s.is_running} == {KEEPER, *TWO})


@pytest.mark.parametrize("head_start_seconds", [0.4, 0.8, 1.2])
def test_who_brings_supervisor_back_may_be_killed_at_it_too(settings: Settings, head_start_seconds: float) -> None:
    stack.start(settings, (KEEPER, *TWO))
    keeper = pids(settings)[KEEPER]
    assert keeper is not None
    kill_supervisor(settings)
    time.sleep(head_start_seconds)  # not a wait for anything: how far the keeper has got with it
    with suppress(ProcessLookupError):
        os.kill(keeper, 9)
    eventually(lambda: Supervisor(settings).is_running())
    eventually(lambda: {n for n, s in running_programs(settings).items() if s.is_running} == {KEEPER, *TWO})
    eventually(lambda: len(watchmen(settings)) == 2)


def watchmen(settings: Settings) -> list[psutil.Process]:
    """Keepers and reconcilers that live, of whatever supervisor."""
    names = ("platform.local.keeper", "platform.local.reconciler")
    return [p for p in processes(settings) if any(word.endswith(names) for word in words_of(p))]


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing where it ended meanwhile."""
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_a_stopped_stack_stays_stopped_though_supervisor_was_killed_before(settings: Settings) -> None:
    stack.start(settings, (KEEPER, *TWO))
    kill_supervisor(settings)
    stack.stop(settings)
    assert processes(settings) == []
    assert stack.revive(settings) is False


def test_the_stack_sees_only_listed_variables_of_its_starter(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_RUN_JOB_NAME", "a run that started it")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    stack.start(settings, (RECONCILER,))
    seen = psutil.Process(pids(settings)[RECONCILER]).environ()
    assert "DAGSTER_RUN_JOB_NAME" not in seen
    assert (seen["AWS_REGION"], seen["RECSYS_HOME"]) == ("eu-west-1", str(settings.home))


def answers(home: Home) -> bool:
    try:
        return home.client().ask("1")[0] == 200
    except OSError:
        return False


def test_a_killed_reconciler_is_healed_and_the_servers_do_not_notice(settings: Settings) -> None:
    stack.start(settings, TWO)
    home = Home(settings)
    home.serve("1")
    home.route({"films-v1": 10_000})
    before = pids(settings)
    killed = before[RECONCILER]
    assert killed is not None
    os.kill(killed, 9)
    eventually(lambda: pids(settings)[RECONCILER] not in {None, 0, killed})
    home.until_service("1", lambda s: s.ready)
    after = pids(settings)
    assert {n: p for n, p in after.items() if n != RECONCILER} == {n: p for n, p in before.items() if n != RECONCILER}
    assert home.client().ask("1")[0] == 200


def test_a_killed_gateway_is_healed_with_its_routes(settings: Settings) -> None:
    stack.start(settings, TWO)
    home = Home(settings)
    home.serve("1")
    home.route({"films-v1": 10_000})
    killed = pids(settings)[ENVOY]
    assert killed is not None
    os.kill(killed, 9)

    eventually(lambda: not psutil.pid_exists(killed) or psutil.Process(killed).status() == psutil.STATUS_ZOMBIE)
    eventually(lambda: answers(home))


def test_a_taken_port_is_named_with_its_setting(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind((settings.serving.host, settings.serving.gateway_port))
        other.listen()
        told = f"program/envoy: port {settings.serving.gateway_port} is taken.*serving.gateway_port sets it"
        with pytest.raises(Unavailable, match=told):
            stack.start(settings, TWO)
    assert processes(settings) == []


def test_a_path_that_supervisor_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot use a path with % in it"):
        stack.start(make_settings(tmp_path / "100 % full"), TWO)


def test_a_program_that_gives_up_is_told_with_its_last_words(settings: Settings) -> None:
    settings.path("platform").mkdir(parents=True)
    with only_one(settings.path("platform", "reconciler.lock")):
        told = "program/reconciler: does not stay up; it said last: .*another reconciler holds"
        with pytest.raises(Unavailable, match=told):
            stack.start(settings, (RECONCILER,))


def test_a_home_too_deep_for_a_socket_works_beside_another_one(tmp_path: Path, settings: Settings) -> None:
    deep = make_settings(tmp_path / ("d" * 100) / ("e" * 100))
    short = socket_path(deep)
    assert not short.is_relative_to(deep.home)
    try:
        stack.start(deep, TWO)
        stack.start(settings, TWO)
        assert set(pids(deep)) == set(pids(settings)) == set(TWO)
        stack.stop(settings)
        assert set(pids(deep)) == set(TWO)
    finally:
        stack.stop(deep)
    assert not short.parent.exists()
    assert processes(deep) == []


def test_the_resource_starts_the_core_on_demand(settings: Settings) -> None:
    platform = PlatformResource.from_settings(settings)
    assert platform.settings() == settings
    platform.ensure_running()
    assert set(pids(settings)) == {KEEPER, RECONCILER, ENVOY, COLLECTOR}
    assert platform.list(INFERENCE_SERVICE) == []
