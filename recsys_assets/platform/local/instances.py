"""Model servers of InferenceServices: started, probed, replaced generation by generation, and taken away.

Here: one service's programs. Not here: the gateway, and the loop that calls this.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from recsys_assets.platform.interface import Manifest, Unavailable
from recsys_assets.platform.local.plain_http import plain_client
from recsys_assets.platform.local.ports import is_free
from recsys_assets.platform.local.probe import PROBE_SECONDS, Health, Memory, probe
from recsys_assets.platform.local.programs import MODEL_PREFIX, Program, instance_name, model_program
from recsys_assets.platform.local.routing import ServiceView
from recsys_assets.platform.local.store import ManifestStore, status_of
from recsys_assets.platform.local.supervisor import ProgramState, Supervisor
from recsys_assets.settings import Settings

CRASH_PAUSE_SECONDS: Final = 10.0
# The gateway checks each half second for itself; an old generation stays until it has surely seen the new one.
OVERLAP_SECONDS: Final = 2.0
Key = tuple[str, int]


@dataclass(frozen=True)
class Service:
    """One InferenceService as it was seen: its own health, and where its traffic may go meanwhile."""

    manifest: Manifest
    health: Health
    view: ServiceView


class Instances:
    """The model servers. All that must outlive this process stands in the store and in supervisor."""

    def __init__(self, settings: Settings, store: ManifestStore, supervisor: Supervisor) -> None:
        self._settings, self._store, self._supervisor = settings, store, supervisor
        self._client = plain_client(timeout=PROBE_SECONDS)
        self._memory = Memory()
        self._restart_at: dict[str, float] = {}

    def close(self) -> None:
        self._client.close()

    def look(self, manifests: list[Manifest]) -> dict[str, Service]:
        """Start what should run and does not, probe what runs."""
        states = self._supervisor.states()
        ports = {(i["uid"], i["generation"]): int(i["port"]) for i in self._store.instances()}
        return {m["metadata"]["name"]: self._one(m, ports, states) for m in manifests}

    def retire(self, services: Mapping[str, Service]) -> bool:
        """Stop what no service wants any more; True when nothing is left to stop.

        An older generation stays until the new one is ready, so that a changed spec drops no request.
        """
        current = {_key(s.manifest): s for s in services.values()}
        seen_by = time.monotonic() - OVERLAP_SECONDS
        replacing = {key[0] for key in current if self._memory.ready.get(key, math.inf) > seen_by}
        kept: set[str] = set()
        for row in self._store.instances():
            name, key = instance_name(row["service"], row["uid"], row["generation"]), (row["uid"], row["generation"])
            if key in current or row["uid"] in replacing:
                kept.add(name)
            elif self._supervisor.retire(name):
                self._store.drop_instance(uid=row["uid"], generation=row["generation"])
        strays = [n for n in self._supervisor.states() if n.startswith(MODEL_PREFIX) and n not in kept]
        return all([self._supervisor.retire(name) for name in strays])

    def _one(self, manifest: Manifest, ports: Mapping[Key, int], states: Mapping[str, ProgramState]) -> Service:
        key, name = _key(manifest), manifest["metadata"]["name"]
        if status_of(manifest).ready and key not in self._memory.late:
            self._memory.ready.setdefault(key, time.monotonic())
        try:
            port = self._port(key, name)
            health = self._probe(manifest, key, port, states)
        except Unavailable as problem:
            return Service(manifest, Health(False, problem.reason), ServiceView(False, None, problem.reason))
        if health.ready:
            return Service(manifest, health, ServiceView(True, port))
        for old in sorted((k for k in ports if k[0] == key[0] and k != key), reverse=True):
            if old in self._memory.ready and self._is_up(name, old, states):
                return Service(manifest, health, ServiceView(True, ports[old], health.reason))
        return Service(manifest, health, ServiceView(False, port, health.reason))

    def _port(self, key: Key, name: str) -> int:
        serving = self._settings.serving
        ports = range(serving.model_port_first, serving.model_port_last + 1)
        return self._store.take_port(
            uid=key[0], generation=key[1], service=name, ports=ports, usable=lambda p: is_free(serving.host, p)
        )

    def _probe(self, manifest: Manifest, key: Key, port: int, states: Mapping[str, ProgramState]) -> Health:
        program = model_program(manifest, generation=key[1], port=port, settings=self._settings)
        state = states.get(program.name)
        if state is None or state.is_down:
            health = self._start(program.name, program, state)
        elif state.state == "BACKOFF":
            health = Health(False, self._crash(program.name, state))
        else:
            health = probe(self._client, manifest, f"http://{self._settings.serving.host}:{port}")
        return self._memory.settle(key, health, at=time.monotonic())

    def _start(self, name: str, program: Program, state: ProgramState | None) -> Health:
        """Start it, but one that keeps crashing only now and then, and always saying why."""
        at = time.monotonic()
        if state is not None and state.state == "FATAL":
            if at < self._restart_at.setdefault(name, at + CRASH_PAUSE_SECONDS):
                return Health(False, self._crash(name, state))
            del self._restart_at[name]
        self._supervisor.ensure([program])
        return Health(False, "starting" if state is None else f"starting again ({state.state})")

    def _crash(self, name: str, state: ProgramState) -> str:
        return f"{state.state}: {state.description}; it said last: {self._supervisor.log_tail(name)}"

    def _is_up(self, service: str, key: Key, states: Mapping[str, ProgramState]) -> bool:
        state = states.get(instance_name(service, *key))
        return state is not None and state.state == "RUNNING"


def _key(manifest: Manifest) -> Key:
    return manifest["metadata"]["uid"], int(manifest["metadata"]["generation"])
