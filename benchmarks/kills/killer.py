"""Finds the living processes of a stack by the part they play, and kills them.

Here: kill -9 and nothing else, with a log. Not here: when, or what follows.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from recsys_assets.platform.local import processes
from recsys_assets.platform.local.programs import COLLECTOR, ENVOY, GUARD, KEEPER, MLFLOW, MODEL_PREFIX, RECONCILER
from recsys_assets.platform.local.supervisor import folder, socket_path
from recsys_assets.settings import Settings

SUPERVISOR, RUN, CODE_SERVER, MODEL = "supervisor", "run", "code server", "model server"
WEBSERVER, DAEMON = "webserver", "daemon"
CONTROL = (DAEMON, CODE_SERVER, RUN, WEBSERVER, RECONCILER, MLFLOW, GUARD, KEEPER, SUPERVISOR)
NINE = (DAEMON, RUN, CODE_SERVER, RECONCILER, ENVOY, MODEL, MLFLOW, GUARD, SUPERVISOR)


@dataclass
class Killer:
    """`killed` is the log: when, which part, which process."""

    settings: Settings
    seed: int
    killed: list[tuple[float, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def living(self) -> dict[str, list[int]]:
        """Processes by their part."""
        found: dict[str, list[int]] = {}
        for pid, name in processes.named(socket_path(self.settings)).items():
            if (part := _part(pid, name)) is not None:
                found.setdefault(part, []).append(pid)
        if (pid := self._supervisor()) is not None:
            found[SUPERVISOR] = [pid]
        for run in psutil.process_iter(["cmdline"]):
            words = run.info["cmdline"] or []
            if str(self.settings.home.parent / "run.yaml") in words and processes.is_alive(run.pid):
                found.setdefault(RUN, []).append(run.pid)
        return found

    def kill(self, part: str) -> bool:
        """Kill one process that plays this part; False where none does."""
        pids = self.living().get(part)
        if not pids:
            return False
        return self._kill(part, self.draw.choice(pids))

    def _kill(self, part: str, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.killed.append((time.time(), part, pid))
        return True

    def kill_server_of(self, service: str) -> bool:
        """Kill a model server of this service."""
        prefix = f"{MODEL_PREFIX}{service}-"
        living = processes.named(socket_path(self.settings)).items()
        return any(name.startswith(prefix) and self._kill(service, pid) for pid, name in living)

    def counts(self, parts: tuple[str, ...]) -> dict[str, int]:
        names = [part for _, part, _ in self.killed]
        return {part: names.count(part) for part in parts}

    def _supervisor(self) -> int | None:
        try:
            pid = int((folder(self.settings) / "supervisord.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return pid if processes.is_alive(pid) else None


def _part(pid: int, name: str) -> str | None:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        leads = os.getpgid(pid) == pid
    except OSError:
        return None
    if name.startswith("dagster-"):
        return _part_of_dagster(name, command, leads=leads)
    if name.startswith(MODEL_PREFIX):
        return MODEL
    return name if leads and name in {ENVOY, COLLECTOR, GUARD, KEEPER, MLFLOW, RECONCILER} else None


def _part_of_dagster(name: str, command: str, *, leads: bool) -> str | None:
    if leads:
        return {"dagster-daemon": DAEMON, "dagster-webserver": WEBSERVER}.get(name)
    if "api grpc" in command:
        return CODE_SERVER
    return RUN if "multiprocessing.spawn" in command or "execute_run" in command else None
