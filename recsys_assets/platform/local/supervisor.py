"""The supervisor of one home: its socket, its programs at run time, and what state they are in.

Here: a thin typed client of an existing supervisor. Not here: which programs there are, and when.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import xmlrpc.client
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from recsys_assets.platform.interface import Unavailable
from recsys_assets.platform.local import orphans
from recsys_assets.platform.local.programs import Program, program_text
from recsys_assets.settings import Settings

# AF_UNIX allows 107 bytes, and supervisor binds a name that is longer by its process id first.
_MAX_SOCKET: Final = 90
_ALREADY_ADDED, _BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING = 90, 10, 60, 70
_SPAWN_ERRORS: Final = frozenset({20, 21, 40, 50})
ADOPTED: Final = "ADOPTED"


@dataclass(frozen=True)
class ProgramState:
    """One program as supervisor sees it; `state` is its word: RUNNING, STARTING, BACKOFF, FATAL, STOPPED, EXITED...

    ADOPTED is our word for one that an earlier, killed supervisor had started and that serves on.
    """

    name: str
    state: str
    pid: int | None
    description: str
    started_at: int = 0

    @property
    def is_up(self) -> bool:
        return self.state in {"RUNNING", "STARTING", "BACKOFF", ADOPTED}

    @property
    def is_running(self) -> bool:
        return self.state in {"RUNNING", ADOPTED}

    @property
    def is_down(self) -> bool:
        return self.state in {"STOPPED", "EXITED", "FATAL"}


def folder(settings: Settings) -> Path:
    return settings.path("platform", "supervisor")


def socket_path(settings: Settings) -> Path:
    """In the home where it fits; else in a folder of ours below the temporary one, named by the home."""
    inside = folder(settings) / "supervisor.sock"
    if len(os.fsencode(inside)) <= _MAX_SOCKET:
        return inside
    digest = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:16]
    base = Path(tempfile.gettempdir())
    short = base if len(os.fsencode(base)) < 40 else Path("/tmp")  # noqa: S108 - a folder for its owner only is made in it
    return short / f"recsys-{os.getuid()}-{digest}" / "supervisor.sock"


class Supervisor:
    """A client that connects anew for each question: cheap on a local socket, and nothing to heal."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.socket, self.folder = settings, socket_path(settings), folder(settings)

    def is_running(self) -> bool:
        try:
            return bool(self._call(lambda s: s.getState()["statename"] in {"RUNNING", "RESTARTING"}))
        except Unavailable:
            return False

    def states(self) -> dict[str, ProgramState]:
        """Every program that supervisor knows or that was adopted, by name."""
        found = {p["name"]: _state(p) for p in self._call(lambda s: s.getAllProcessInfo())}
        for name, pid in self._adopted().items():
            if name not in found or not found[name].is_up:
                found[name] = ProgramState(name, ADOPTED, pid, "outlived the supervisor that started it")
        return found

    def _adopted(self) -> dict[str, int]:
        return orphans.adopted(self.folder, self.socket)

    def ensure(self, programs: Iterable[Program]) -> None:
        """Write, add and start these programs. One that runs as it is written is left alone."""
        wanted = {program.name: program for program in programs}
        for program in wanted.values():
            self._write(program)
        _added, changed, _removed = self._call(lambda s: s.reloadConfig())[0]
        for name in wanted.keys() & set(changed):
            self._stop(name, wait=True)
            self._tolerate({_BAD_NAME}, "removeProcessGroup", name)
        for name in wanted:
            self._tolerate({_ALREADY_ADDED}, "addProcessGroup", name)
        states = self.states()
        for name in wanted:
            if not (name in states and states[name].is_up):
                self._tolerate({_ALREADY_STARTED} | _SPAWN_ERRORS, "startProcess", name, False)

    def retire(self, name: str) -> bool:
        """Ask a program to stop; once it has stopped, forget it. True when nothing is left of it."""
        state = self.states().get(name)
        if state is not None and not state.is_down:
            self._stop(name, wait=False)
            return False
        self._file(name).unlink(missing_ok=True)
        self._tolerate({_BAD_NAME}, "removeProcessGroup", name)
        return True

    def ask_to_stop(self, names: Collection[str]) -> None:
        for name in names:
            self._stop(name, wait=False)

    def written(self) -> list[str]:
        """The programs that this home wants to run: their sections stand from `ensure` on, whatever is killed."""
        return sorted(path.stem for path in (self.folder / "conf.d").glob("*.ini"))

    def is_as_written(self, program: Program) -> bool:
        """Whether the program's section says what would be written now."""
        path = self._file(program.name)
        return path.exists() and path.read_text(encoding="utf-8") == self._text(program)

    def shut_down(self) -> None:
        """Stop all programs at once, then supervisor itself."""
        self._call(lambda s: s.stopAllProcesses(True))
        self._call(lambda s: s.shutdown())

    def log_tail(self, name: str, *, lines: int = 5) -> str:
        """The last lines that a program said, for an error message."""
        path = self.settings.path("platform", "logs", f"{name}.log")
        if not path.exists():
            return "(it said nothing)"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4_096))
            text = file.read().decode("utf-8", "replace")
        return " | ".join(text.strip().splitlines()[-lines:]) or "(it said nothing)"

    def _file(self, name: str) -> Path:
        return self.folder / "conf.d" / f"{name}.ini"

    def _write(self, program: Program) -> None:
        path, text = self._file(program.name), self._text(program)
        if self.is_as_written(program):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)

    def _text(self, program: Program) -> str:
        return program_text(program, logs=self.settings.path("platform", "logs"))

    def _stop(self, name: str, *, wait: bool) -> None:
        self._tolerate({_NOT_RUNNING, _BAD_NAME}, "stopProcess", name, wait)
        if (pid := self._adopted().get(name)) is not None:
            orphans.end(pid, wait=wait)

    def _tolerate(self, faults: set[int], method: str, *arguments: object) -> None:
        """Call, and take these faults for success: they say that it was so already."""
        try:
            self._ask(lambda s: getattr(s, method)(*arguments))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in faults:
                raise Unavailable("supervisor", str(self.socket), f"{method}: {fault.faultString}") from None

    def _call(self, ask: Callable[[Any], Any]) -> Any:
        try:
            return self._ask(ask)
        except xmlrpc.client.Fault as fault:
            raise Unavailable("supervisor", str(self.socket), fault.faultString) from None

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return ask(proxy.supervisor)
        except (OSError, HTTPException, xmlrpc.client.ProtocolError) as broken:
            raise Unavailable("supervisor", str(self.socket), f"does not answer: {broken}") from broken
        finally:
            transport.close()


def _state(info: dict[str, Any]) -> ProgramState:
    said = info["spawnerr"] or info["description"]
    return ProgramState(info["name"], info["statename"], info["pid"] or None, said, int(info["start"]))
