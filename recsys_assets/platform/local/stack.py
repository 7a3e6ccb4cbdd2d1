"""The local stack of one home: started, stopped and looked at as a whole.

Here: order, waiting and clear refusals. Not here: what the programs are (`programs.py`) or do.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recsys_assets.platform.interface import Unavailable
from recsys_assets.platform.local import processes
from recsys_assets.platform.local.envoy import translate
from recsys_assets.platform.local.gateway import Gateway
from recsys_assets.platform.local.instances import port_is_free
from recsys_assets.platform.local.programs import (
    ALL,
    CONTROLLERS,
    CORE,
    ENVOY,
    MODEL_PREFIX,
    RECONCILER,
    Program,
    program,
    supervisor_text,
)
from recsys_assets.platform.local.reconciler import gateway_place
from recsys_assets.platform.local.store import is_locked
from recsys_assets.platform.local.supervisor import ProgramState, Supervisor
from recsys_assets.settings import Settings

__all__ = ["ALL", "CORE", "running", "start", "stop"]

STOP_SECONDS: Final = 60.0
# Ending once at the start may be bad luck with a port; a program that must be started more often than this is broken.
STARTS: Final = 2
_POLL_SECONDS = 0.05


def start(settings: Settings, programs: Sequence[str] = ALL) -> None:
    """Bring these programs up and wait until they answer. What runs already is left as it is.

    Raises Unavailable naming the program and what is wrong with it.
    """
    wanted = [program(settings, name) for name in programs]
    with _turn(settings):
        supervisor = Supervisor(settings)
        states = supervisor.states() if supervisor.is_running() else {}
        starting = [p for p in wanted if p.name not in states or not states[p.name].is_up]
        if starting:
            if not supervisor.is_running():
                _clear(settings, supervisor, {p.name for p in wanted})
            _refuse_early(settings, starting)
            _launch(settings, supervisor)
            supervisor.ensure(starting)
        _await(settings, supervisor, wanted)


def stop(settings: Settings) -> None:
    """End the stack, with everything that it started and all that outlived it. Nothing to stop is fine."""
    with _turn(settings):
        supervisor = Supervisor(settings)
        pid = _pid(supervisor)
        if supervisor.is_running():
            supervisor.ask_to_stop(CONTROLLERS)
            processes.wait_until(lambda: _have_stopped(supervisor, CONTROLLERS), seconds=STOP_SECONDS)
            supervisor.shut_down()
            if pid is not None:
                processes.wait_until(lambda: not processes.is_alive(pid), seconds=STOP_SECONDS)
        leftover = processes.marked(supervisor.socket)
        processes.end(leftover | ({pid} if pid is not None and processes.is_alive(pid) else set()))
        _forget(settings, supervisor)


def running(settings: Settings) -> Mapping[str, ProgramState]:
    """Each program's state by its name, model servers included; empty when the stack does not run."""
    supervisor = Supervisor(settings)
    return supervisor.states() if supervisor.is_running() else {}


@contextmanager
def _turn(settings: Settings) -> Iterator[None]:
    """One start or stop at a time for each home."""
    path = settings.path("platform", "stack.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clear(settings: Settings, supervisor: Supervisor, names: set[str]) -> None:
    """End what a killed supervisor left running, or it would hold the ports and compete with its successor."""

    def ours(name: str) -> bool:
        return name in names or name in CORE or name.startswith(MODEL_PREFIX)

    processes.end(processes.marked(supervisor.socket, wanted=ours))
    _forget(settings, supervisor)


def _forget(settings: Settings, supervisor: Supervisor) -> None:
    shutil.rmtree(supervisor.folder / "conf.d", ignore_errors=True)
    supervisor.socket.unlink(missing_ok=True)
    (supervisor.folder / "supervisord.pid").unlink(missing_ok=True)
    if supervisor.socket.parent != supervisor.folder and supervisor.socket.parent.exists():
        supervisor.socket.parent.rmdir()


def _refuse_early(settings: Settings, starting: Sequence[Program]) -> None:
    """What would make a program die at its start, said before it does."""
    # It takes these for patterns and for its own variables, in more than one round.
    if bad := sorted(set("*?[%") & set(str(settings.home))):
        raise Unavailable("home", str(settings.home), f"supervisor cannot use a path with {' '.join(bad)} in it")
    if sys.platform == "linux":
        _need_library("libgomp.so.1", "the rankers need it; on Debian: apt-get install libgomp1")
    ports = [(p.name, p.port, p.port_setting) for p in starting if p.port is not None]
    if any(p.name == ENVOY for p in starting):
        ports.append((ENVOY, settings.serving.gateway_admin_port, "serving.gateway_admin_port"))
    for name, port, setting in ports:
        if not port_is_free(settings.serving.host, port):
            raise Unavailable("program", name, f"port {port} is taken by another process; {setting} sets it")


def _need_library(name: str, why: str) -> None:
    try:
        ctypes.CDLL(name)
    except OSError:
        raise Unavailable("library", name, f"is missing: {why}") from None


def _launch(settings: Settings, supervisor: Supervisor) -> None:
    if supervisor.is_running():
        return
    for folder in (supervisor.folder / "conf.d", settings.path("platform", "logs"), settings.path("dagster")):
        folder.mkdir(parents=True, exist_ok=True)
    _make_socket_folder(supervisor)
    gateway = Gateway(gateway_place(settings))
    gateway.prepare(translate([], [], {}, gateway.place))
    gateway.close()
    config = supervisor.folder / "supervisord.conf"
    config.write_text(supervisor_text(folder=supervisor.folder, socket=supervisor.socket), encoding="utf-8")
    # Its first child is a fork of its own: nothing of ours, not even this lock, lives on in it.
    # The variables go by `env`: supervisor would read a `%` in its own `environment` twice.
    # Whoever imported Feast has these two set, to a folder that goes when that process ends; what we start outlives it.
    not_ours = ["-u", "PROMETHEUS_MULTIPROCESS_DIR", "-u", "PROMETHEUS_MULTIPROC_DIR"]
    variables = [f"{name}={value}" for name, value in settings.environment().items()]
    command = ["env", *not_ours, *variables, sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not processes.wait_until(supervisor.is_running, seconds=15):
        said = (done.stderr or done.stdout).strip() or "it did not answer in time"
        raise Unavailable("supervisor", str(supervisor.socket), f"did not start: {said}")


def _make_socket_folder(supervisor: Supervisor) -> None:
    """A folder below a shared temporary one must be ours alone, or another user could stand in for our supervisor."""
    parent = supervisor.socket.parent
    if parent == supervisor.folder:
        return
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.getuid() or parent.stat().st_mode & 0o077:
        raise Unavailable("supervisor", str(parent), "exists, but not as a folder that only we may enter")


def _await(settings: Settings, supervisor: Supervisor, wanted: Sequence[Program]) -> None:
    """Wait until each program answers; one that keeps ending ends the waiting, with its last words."""
    deadline = time.monotonic() + settings.serving.ready_timeout_seconds
    waiting, starts = list(wanted), dict[str, set[int]]()
    while waiting:
        states = supervisor.states()
        for each in waiting:
            state = states.get(each.name)
            if state is None or state.state == "FATAL":
                raise _given_up(supervisor, each, "does not stay up")
            starts.setdefault(each.name, set()).add(state.started_at)
            if len(starts[each.name]) > STARTS:
                raise _given_up(supervisor, each, "does not stay up")
        waiting = [p for p in waiting if states[p.name].state != "RUNNING" or not _answers(settings, p)]
        if waiting and time.monotonic() > deadline:
            raise _given_up(supervisor, waiting[0], f"is {states[waiting[0].name].state}, but does not answer")
        if waiting:
            time.sleep(_POLL_SECONDS)


def _have_stopped(supervisor: Supervisor, names: Sequence[str]) -> bool:
    return all(state.is_down for name, state in supervisor.states().items() if name in names)


def _given_up(supervisor: Supervisor, what: Program, how: str) -> Unavailable:
    return Unavailable("program", what.name, f"{how}; it said last: {supervisor.log_tail(what.name)}")


def _answers(settings: Settings, what: Program) -> bool:
    if what.name == RECONCILER:
        return is_locked(settings.path("platform", "watching.lock"))
    if what.name == ENVOY:
        gateway = Gateway(gateway_place(settings))
        try:
            return gateway.is_ready()
        finally:
            gateway.close()
    if what.port is None:
        return True
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex((settings.serving.host, what.port)) == 0


def _pid(supervisor: Supervisor) -> int | None:
    """The supervisor's process. A number left in a file may be another process's by now, so its command is read too."""
    config = os.fsencode(supervisor.folder / "supervisord.conf")
    try:
        pid = int((supervisor.folder / "supervisord.pid").read_text(encoding="utf-8"))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if config in words else None
