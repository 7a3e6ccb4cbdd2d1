"""The local stack of one home: started, stopped and looked at as a whole.

Here: order, waiting and clear refusals. Not here: what the programs are (`programs.py`) or do.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recsys_assets.platform.interface import Unavailable
from recsys_assets.platform.local import orphans, processes, surroundings
from recsys_assets.platform.local.envoy import translate
from recsys_assets.platform.local.gateway import Gateway, gateway_place
from recsys_assets.platform.local.locks import turn, turn_if_free
from recsys_assets.platform.local.ports import is_free, owner
from recsys_assets.platform.local.programs import (
    ALL,
    CONTROLLERS,
    CORE,
    ENVOY,
    MODEL_PREFIX,
    RECONCILER,
    WATCHMEN,
    Program,
    has_work,
    program,
    supervisor_text,
)
from recsys_assets.platform.local.store import is_locked
from recsys_assets.platform.local.supervisor import Supervisor
from recsys_assets.settings import Settings

__all__ = ["ALL", "CORE", "replace_adopted", "require_startable", "revive", "start", "stop"]

STOP_SECONDS: Final = 60.0
REVIVAL_SECONDS: Final = 30.0
# Ending once at the start may be bad luck with a port; a program that must be started more often than this is broken.
STARTS: Final = 2
_POLL_SECONDS = 0.05


def start(settings: Settings, programs: Sequence[str] = ALL, *, waiting: Callable[[], None] = lambda: None) -> None:
    """Bring these programs up and wait until they answer. What runs already is left as it is.

    Raises Unavailable naming the program and what is wrong with it. Where not all of them answer, or the start is
    interrupted, those that it started are stopped again. `waiting` is called where another start or stop is under way.
    """
    wanted = [program(settings, name) for name in programs if has_work(settings, name)]
    _leave_to_keeper(settings)
    with turn(_lock(settings), waiting=waiting), _undone_unless_up(settings):
        supervisor = Supervisor(settings)
        if not supervisor.is_running():
            adopted = _clear(settings, supervisor, wanted)
            _refuse_early(settings, [p for p in wanted if p.name not in adopted])
            _launch(settings, supervisor)
        states = supervisor.states()
        starting = [p for p in wanted if p.name not in states or not states[p.name].is_up]
        if starting:
            _refuse_early(settings, starting)
            supervisor.ensure(starting)
        _await(settings, supervisor, wanted)


def require_startable(settings: Settings, programs: Sequence[str] = CORE) -> None:
    """Raises Unavailable where `start` would refuse now: before hours of work, not after them."""
    supervisor = Supervisor(settings)
    if os.environ.get(processes.MARK) == f"unix://{supervisor.socket}":
        return
    up = _up(supervisor)
    wanted = [program(settings, name) for name in programs if has_work(settings, name)]
    _refuse_early(settings, [each for each in wanted if each.name not in up])


def revive(settings: Settings) -> bool:
    """Bring a killed supervisor back with all that it ran, or finish what another reviver was killed at.

    True when all stands again, and a successor of whoever called was started. False where there is nothing to bring
    back, or where it is somebody else's turn. Whoever else could do this lives until the new supervisor runs it all.
    """
    with turn_if_free(_lock(settings)) as is_ours:
        supervisor = Supervisor(settings)
        wanted = [p for p in (program(settings, name) for name in ALL) if p.name in supervisor.written()]
        if not is_ours or not wanted:
            return False
        if not supervisor.is_running():
            if _pid(supervisor) is not None:
                return False
            _adopt(supervisor, wanted, spared=WATCHMEN)
            _launch(settings, supervisor)
        supervisor.ensure(wanted)
        orphans.end_all(WATCHMEN, supervisor.socket, but_children_of=_pid(supervisor))
    return True


def replace_adopted(settings: Settings) -> None:
    """Have supervisor start what was adopted from its predecessor and has ended since. Model servers are not ours."""
    supervisor = Supervisor(settings)
    ended = orphans.ended(supervisor.folder, supervisor.socket)
    if not ended:
        return
    with turn_if_free(_lock(settings)) as is_ours:
        if is_ours and supervisor.is_running():
            supervisor.ensure(program(settings, name) for name in ended if not name.startswith(MODEL_PREFIX))
            orphans.forget(supervisor.folder, ended)


def stop(settings: Settings, *, waiting: Callable[[], None] = lambda: None) -> None:
    """End the stack, with everything that it started and all that outlived it. Nothing to stop is fine."""
    with turn(_lock(settings), waiting=waiting):
        _stop_all(settings, Supervisor(settings))


def _stop_all(settings: Settings, supervisor: Supervisor) -> None:
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


@contextmanager
def _undone_unless_up(settings: Settings) -> Iterator[None]:
    """Whatever ends a start before all answer, an interrupt too: what was not up before it is stopped again."""
    supervisor = Supervisor(settings)
    before = _up(supervisor)
    try:
        yield
    except BaseException:
        if not before:
            _stop_all(settings, supervisor)
        elif supervisor.is_running():
            _stop_others(supervisor, before)
        raise


def _stop_others(supervisor: Supervisor, kept: Collection[str]) -> None:
    """Model servers are the reconciler's to start and to stop."""
    states = supervisor.states()
    new = [name for name, state in states.items() if name not in kept and not name.startswith(MODEL_PREFIX)]
    supervisor.ask_to_stop(new)
    processes.wait_until(lambda: _have_stopped(supervisor, new), seconds=STOP_SECONDS)
    for name in new:
        supervisor.retire(name)


def _up(supervisor: Supervisor) -> set[str]:
    """What runs, or outlived a killed supervisor."""
    if supervisor.is_running():
        return {name for name, state in supervisor.states().items() if state.is_up}
    return set(processes.named(supervisor.socket).values())


def _lock(settings: Settings) -> Path:
    """One start or stop at a time for each home."""
    return settings.path("platform", "stack.lock")


def _leave_to_keeper(settings: Settings) -> None:
    """A process below a killed supervisor, such as a run, cannot clear the way: it would have to end its parents."""
    supervisor = Supervisor(settings)
    if os.environ.get(processes.MARK) != f"unix://{supervisor.socket}":
        return
    if not processes.wait_until(supervisor.is_running, seconds=REVIVAL_SECONDS):
        raise Unavailable("supervisor", str(supervisor.socket), "has ended, and no keeper brought it back")


def _clear(settings: Settings, supervisor: Supervisor, wanted: list[Program]) -> set[str]:
    """Before a start without a supervisor: who outlived a killed one and serves on. All that it ran is wanted again."""
    standing = [program(settings, name) for name in ALL if name in supervisor.written()]
    if not _adopt(supervisor, [*wanted, *standing]):
        _forget(settings, supervisor)
        return set()
    wanted += [p for p in standing if p not in wanted]
    return set(orphans.adopted(supervisor.folder, supervisor.socket))


def _adopt(supervisor: Supervisor, wanted: Sequence[Program], *, spared: Collection[str] = ()) -> bool:
    """Adopt what would be started just so; the others would hold ports and compete with their successors."""
    same = {p.name for p in wanted if supervisor.is_as_written(p)}
    found = orphans.adopt(
        supervisor.folder,
        supervisor.socket,
        unchanged=lambda name: name in same or name.startswith(MODEL_PREFIX),
        spared=spared,
    )
    supervisor.socket.unlink(missing_ok=True)
    (supervisor.folder / "supervisord.pid").unlink(missing_ok=True)
    return found


def _forget(settings: Settings, supervisor: Supervisor) -> None:
    shutil.rmtree(supervisor.folder / "conf.d", ignore_errors=True)
    supervisor.socket.unlink(missing_ok=True)
    (supervisor.folder / "supervisord.pid").unlink(missing_ok=True)
    (supervisor.folder / orphans.FILE).unlink(missing_ok=True)
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
    taken = [each for each in ports if not is_free(settings.serving.host, each[1])]
    told = [f"port {port} is taken by {owner(port)}; {setting} sets it" for _, port, setting in taken]
    if taken:
        raise Unavailable("program", taken[0][0], ", and ".join(told))


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
    if not supervisor.written():
        _prepare_gateway(settings)
    config = supervisor.folder / "supervisord.conf"
    config.write_text(supervisor_text(folder=supervisor.folder, socket=supervisor.socket), encoding="utf-8")
    # Its first child is a fork of its own: nothing of ours, not even this lock, lives on in it.
    # The variables go by `env`: supervisor would read a `%` in its own `environment` twice.
    given = surroundings.let_in(os.environ) | settings.environment()
    variables = [f"{name}={value}" for name, value in given.items()]
    command = ["env", "-i", *variables, sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not processes.wait_until(supervisor.is_running, seconds=15):
        said = (done.stderr or done.stdout).strip() or "it did not answer in time"
        raise Unavailable("supervisor", str(supervisor.socket), f"did not start: {said}")


def _prepare_gateway(settings: Settings) -> None:
    """Documents to start with. Those that stand already may be what an adopted gateway routes by."""
    gateway = Gateway(gateway_place(settings))
    gateway.prepare(translate([], [], {}, gateway.place))
    gateway.close()


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
        waiting = [p for p in waiting if not states[p.name].is_running or not _answers(settings, p)]
        if waiting and time.monotonic() > deadline:
            patience = f"{settings.serving.ready_timeout_seconds:g} s (serving.ready_timeout_seconds)"
            how = f"is {states[waiting[0].name].state}, but does not answer within {patience}"
            raise _given_up(supervisor, waiting[0], how)
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
