"""Hands documents to a running Envoy: files moved into place in an order that never names an unknown cluster.

Here: writing, and asking Envoy's admin what it really took. Not here: what stands in the documents, starting Envoy.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from recsys_assets.platform.local.envoy import GatewayDocuments, cluster_response
from recsys_assets.platform.local.envoy_clusters import Resource
from recsys_assets.platform.local.envoy_listener import GatewayPlace, bootstrap
from recsys_assets.platform.local.plain_http import plain_client
from recsys_assets.settings import Settings

TAKE_SECONDS: Final = 5.0
CHECKED_SECONDS: Final = 2.0
# Longer than any request with its retries.
LINGER_SECONDS: Final = 15.0
_POLL_SECONDS = 0.01


def gateway_place(settings: Settings) -> GatewayPlace:
    serving = settings.serving
    return GatewayPlace(
        host=serving.host,
        port=serving.gateway_port,
        admin_port=serving.gateway_admin_port,
        collector_port=serving.collector_port,
        folder=settings.path("platform", "envoy"),
        access_log=settings.path("logs", "gateway", "access.jsonl"),
    )


def write_if_changed(path: Path, document: Mapping[str, Any]) -> bool:
    """Write aside and rename; an equal file stays untouched, since each move makes Envoy read it."""
    text = json.dumps(document, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    return True


class Gateway:
    """One Envoy and its folder."""

    def __init__(self, place: GatewayPlace, *, linger_seconds: float = LINGER_SECONDS) -> None:
        self.place = place
        self._linger_seconds = linger_seconds
        self._admin = plain_client(base_url=f"http://{place.host}:{place.admin_port}", timeout=2.0)
        self._unnamed_since: dict[str, float] = {}

    def close(self) -> None:
        self._admin.close()

    def prepare(self, documents: GatewayDocuments) -> None:
        """Everything that Envoy needs to start, before there is an Envoy."""
        self.place.access_log.parent.mkdir(parents=True, exist_ok=True)
        write_if_changed(self.place.file("bootstrap"), bootstrap(self.place))
        self._write_endpoints(documents)
        for name, document in (("cds", documents.cds), ("rds", documents.rds), ("lds", documents.lds)):
            write_if_changed(self.place.file(name), document)

    def publish(self, documents: GatewayDocuments) -> str | None:
        """Bring Envoy to these documents; None when it took them, else why not.

        New clusters come before the routes that name them, and old ones go after: Envoy keeps its last good routes
        when it refuses new ones, so what is refused here changes nothing for users.
        """
        if not self.is_ready():
            self.prepare(documents)
            return f"the gateway does not answer on port {self.place.admin_port}"
        documents = replace(documents, cds=self._with_lingering_clusters(documents.cds))
        if all(self._taken(k) == d["version_info"] for k, d in (("rds", documents.rds), ("cds", documents.cds))):
            self.prepare(documents)
            return None
        self._write_endpoints(documents)
        both = self._with_standing_clusters(documents.cds)
        for name, document in (("cds", both), ("rds", documents.rds), ("cds", documents.cds)):
            if document is documents.rds:
                self._wait_until_checked(documents)
            write_if_changed(self.place.file(name), document)
            if not self._wait_until_taken(name, str(document["version_info"])):
                return f"the gateway did not take the new {name.upper()}: {self._refusal(name)}"
        self._drop_endpoints(documents)
        return None

    def _wait_until_checked(self, documents: GatewayDocuments) -> None:
        """Let Envoy's first health check of the routes' services pass, or their first users would get a 503.

        A server that stays unhealthy must not hold up a route, least of all a roll-back: the wait is short.
        """
        routed = {part for name in _clusters_named(documents.rds) for part in name.split("|")} & documents.eds.keys()
        deadline = time.monotonic() + CHECKED_SECONDS
        while not routed <= self._healthy() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _healthy(self) -> set[str]:
        """Clusters with a server that passed its latest active health check."""
        try:
            answer = self._admin.get("/clusters", params={"format": "json"})
        except httpx.TransportError:
            return set()
        found = answer.json().get("cluster_statuses", []) if answer.status_code == 200 else []
        return {
            cluster["name"]
            for cluster in found
            for host in cluster.get("host_statuses", [])
            if not host["health_status"].get("failed_active_health_check")
        }

    def _with_lingering_clusters(self, cds: Resource) -> Resource:
        """These clusters, and those that no route names any more but a request under way may still need.

        A retry looks its cluster up again; without it the user gets a 503 though stable would have answered.
        """
        wanted = {c["name"] for c in cds["resources"]}
        unnamed = {c["name"]: c for c in _read(self.place.file("cds")).get("resources", []) if c["name"] not in wanted}
        now = time.monotonic()
        self._unnamed_since = {name: self._unnamed_since.get(name, now) for name in unnamed}
        kept = [c for name, c in unnamed.items() if now - self._unnamed_since[name] < self._linger_seconds]
        return cluster_response([*cds["resources"], *kept])

    def _with_standing_clusters(self, cds: Resource) -> Resource:
        standing = _read(self.place.file("cds")).get("resources", [])
        clusters = {c["name"]: c for c in standing} | {c["name"]: c for c in cds["resources"]}
        return cluster_response(clusters.values())

    def _write_endpoints(self, documents: GatewayDocuments) -> None:
        for service, document in documents.eds.items():
            write_if_changed(self.place.endpoints_file(service), document)

    def _drop_endpoints(self, documents: GatewayDocuments) -> None:
        named = documents.eds.keys() | {c["name"] for c in documents.cds["resources"]}
        for path in self.place.folder.glob("eds/*.json"):
            if path.stem not in named:
                path.unlink(missing_ok=True)

    def reopen_logs(self) -> bool:
        """Have Envoy open its access log anew; False when it could not be told."""
        try:
            return self._admin.post("/reopen_logs").status_code == 200
        except httpx.TransportError:
            return False

    def is_ready(self) -> bool:
        """Whether Envoy runs and has its first configuration."""
        try:
            return self._admin.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _dump(self, resource: str) -> list[dict[str, Any]]:
        try:
            answer = self._admin.get("/config_dump", params={"resource": resource})
        except httpx.TransportError:
            return []
        configs: list[dict[str, Any]] = answer.json().get("configs", []) if answer.status_code == 200 else []
        return configs

    def _taken(self, kind: str) -> str | None:
        """The version of a document that is in force; for clusters only when each of them is active and none warms."""
        if kind == "rds":
            return next((c.get("version_info") for c in self._dump("dynamic_route_configs")), None)
        active = {c["cluster"]["name"] for c in self._dump("dynamic_active_clusters")}
        written = _read(self.place.file("cds"))
        if self._dump("dynamic_warming_clusters") or active != {c["name"] for c in written.get("resources", [])}:
            return None
        return self._cluster_version()

    def _cluster_version(self) -> str | None:
        try:
            stats = self._admin.get("/config_dump", params={"mask": "version_info"})
        except httpx.TransportError:
            return None
        dumps = stats.json().get("configs", [])
        return next((d.get("version_info") for d in dumps if d["@type"].endswith("ClustersConfigDump")), None)

    def _refusal(self, kind: str) -> str:
        dumps = self._dump("dynamic_route_configs") if kind == "rds" else self._dump("dynamic_warming_clusters")
        details = [c["error_state"]["details"] for c in dumps if "error_state" in c]
        warming = [c["cluster"]["name"] for c in dumps if "cluster" in c]
        return "; ".join(details) or (f"still warming {', '.join(warming)}" if warming else "see its log")

    def _wait_until_taken(self, kind: str, version: str) -> bool:
        deadline = time.monotonic() + TAKE_SECONDS
        while self._taken(kind) != version:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def _clusters_named(document: Any) -> set[str]:
    """Every cluster that a route document names, however deep."""
    if isinstance(document, list):
        return {name for part in document for name in _clusters_named(part)}
    if not isinstance(document, dict):
        return set()
    weighted = document.get("weighted_clusters", {}).get("clusters", [])
    own = {str(document["cluster"])} if isinstance(document.get("cluster"), str) else set()
    return own | {c["name"] for c in weighted} | {n for part in document.values() for n in _clusters_named(part)}


def _read(path: Path) -> dict[str, Any]:
    """A document as it stands; we alone write it, whole, so that only its absence is expected."""
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return loaded
