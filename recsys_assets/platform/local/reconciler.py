"""The reconciler: a loop that brings processes and gateway to what the manifest store says, and writes how far it got.

Here: one pass, and the process that repeats it. Not here: the store, the model servers, Envoy's documents.
Run it as `python -m recsys_assets.platform.local.reconciler`; the supervisor does.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recsys_assets.platform.interface import (
    DESTINATION_RULE,
    INFERENCE_SERVICE,
    VIRTUAL_SERVICE,
    Manifest,
    Unavailable,
)
from recsys_assets.platform.local.envoy import translate
from recsys_assets.platform.local.gateway import Gateway, gateway_place
from recsys_assets.platform.local.instances import Instances, Service
from recsys_assets.platform.local.keeper import look
from recsys_assets.platform.local.locks import only_one
from recsys_assets.platform.local.rotation import rotate
from recsys_assets.platform.local.routing import EffectiveRoute
from recsys_assets.platform.local.store import Changes, ManifestStore, open_store
from recsys_assets.platform.local.supervisor import Supervisor
from recsys_assets.program_log import start_logging
from recsys_assets.settings import Settings, load_settings
from recsys_assets.stalls import Beats, StallLog

POLL_SECONDS: Final = 0.1
SETTLED_SECONDS: Final = 1.0
UNSETTLED_SECONDS: Final = 0.2
# The keeper is quicker; this is for when both were killed.
SUPERVISOR_GONE_SECONDS: Final = 2.0
log = logging.getLogger("reconciler")


class Reconciler:
    """Level-triggered: each pass reads the whole world, so that a missed event or a restart changes nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store: ManifestStore = open_store(settings)
        self.gateway = Gateway(gateway_place(settings))
        self.instances = Instances(settings, self.store, Supervisor(settings))

    def close(self) -> None:
        self.gateway.close()
        self.instances.close()

    def run_once(self) -> bool:
        """One pass; True when all stands as asked. Raises Unavailable when supervisor or store do not answer."""
        virtual, rules = self.store.list(VIRTUAL_SERVICE), self.store.list(DESTINATION_RULE)
        services = self.instances.look(self.store.list(INFERENCE_SERVICE))
        views = {name: service.view for name, service in services.items()}
        self._rotate_log()
        documents = translate(virtual, rules, views, self.gateway.place)
        problem = self.gateway.publish(documents)
        for service in services.values():
            self._write(service.manifest, self._service_status(service))
        for manifest, route in zip(virtual, documents.routes, strict=True):
            self._write(manifest, self._route_status(manifest, route, problem))
        for rule in rules:
            self._write(rule, {"ready": problem is None, "reason": problem or "in force"})
        # A server may go only when no route in force can still name it.
        unrouted = problem is None or not self.gateway.is_ready()
        retired = unrouted and self.instances.retire(services)
        return retired and problem is None and all(s.health.ready for s in services.values())

    def _rotate_log(self) -> None:
        serving = self.settings.serving
        moved = rotate(
            self.gateway.place.access_log.parent,
            most_bytes=serving.gateway_log_bytes,
            most_files=serving.gateway_log_files,
            now=datetime.now(UTC),
            reopen=self.gateway.reopen_logs,
        )
        if moved is not None:
            log.info("the gateway's log goes on in a new file; what it was is %s", moved.name)

    def _service_status(self, service: Service) -> dict[str, Any]:
        port = service.view.port
        return {
            "ready": service.health.ready,
            "reason": service.health.reason,
            "url": None if port is None else f"http://{self.settings.serving.host}:{port}",
        }

    def _route_status(self, manifest: Manifest, route: EffectiveRoute, problem: str | None) -> dict[str, Any]:
        """What the gateway really does. When it refused, the weights are still those of before."""
        before = (manifest.get("status") or {}).get("weights", {})
        return {
            "ready": route.ready and problem is None,
            "reason": route.reason if problem is None else problem,
            "url": f"http://{self.settings.serving.host}:{self.settings.serving.gateway_port}",
            "weights": dict(route.weights) if problem is None else before,
        }

    def _write(self, manifest: Manifest, status: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        seen = {**status, "observedGeneration": metadata["generation"]}
        if self.store.set_status(manifest["kind"], metadata["name"], uid=metadata["uid"], status=seen):
            log.info("%s/%s: %s", manifest["kind"], metadata["name"], seen)


def main() -> None:
    start_logging()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = load_settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with only_one(settings.path("platform", "reconciler.lock")):
        reconciler = Reconciler(settings)
        try:
            _loop(reconciler, stop, watching=settings.path("platform", "watching.lock"))
        finally:
            reconciler.close()


def _loop(reconciler: Reconciler, stop: threading.Event, *, watching: Path) -> None:
    """Pass after pass. Statuses are believed only from the end of the first one: until then they are of yesterday."""
    last_good, parent = time.monotonic(), os.getppid()
    while not stop.is_set():
        try:
            reconciler.run_once()
        except Unavailable as problem:
            log.warning("%s", problem)
            if time.monotonic() - last_good > SUPERVISOR_GONE_SECONDS and look(reconciler.settings):
                return
            stop.wait(UNSETTLED_SECONDS)
            continue
        if os.getppid() != parent and look(reconciler.settings, orphaned=True):
            return
        with only_one(watching):
            _watch(reconciler, stop, parent)
        last_good = time.monotonic()


def _watch(reconciler: Reconciler, stop: threading.Event, parent: int) -> None:
    """Passes on every change and at least each second, until told to stop, orphaned, or without a platform."""
    changes, due = Changes(reconciler.store.path), 0.0
    beats = Beats(StallLog(reconciler.settings.home, "reconciler"))
    try:
        while not beats.rest(stop.wait, POLL_SECONDS):
            if not changes.seen_one() and time.monotonic() < due:
                continue
            try:
                settled = reconciler.run_once()
            except Unavailable as problem:
                log.warning("%s", problem)
                return
            due = time.monotonic() + (SETTLED_SECONDS if settled else UNSETTLED_SECONDS)
            if os.getppid() != parent:
                return
    finally:
        changes.close()


if __name__ == "__main__":
    main()
