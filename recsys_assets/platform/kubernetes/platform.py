"""The Platform over an API server: manifests by server-side apply and compare-and-swap.

Here: the order of requests, and what a race ends in. Not here: translation (dress.py), status (observed.py), transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import (
    ANY,
    DESTINATION_RULE,
    AnyVersion,
    Conflict,
    Expected,
    Manifest,
    NotFound,
    ServiceStatus,
)
from recsys_assets.platform.kubernetes.client import APPLY, ApiServer
from recsys_assets.platform.kubernetes.dress import dressed, undressed
from recsys_assets.platform.kubernetes.errors import Target
from recsys_assets.platform.kubernetes.gateways import Ask, ask_over_http
from recsys_assets.platform.kubernetes.kinds import (
    FIELD_MANAGER,
    INFERENCE_SERVICES,
    STORED_BY,
    STORED_LABEL,
    Resource,
    stored_as,
)
from recsys_assets.platform.kubernetes.observed import Observer
from recsys_assets.platform.validation import check_manifest

Document = dict[str, Any]
# No object has it. Server-side apply compares it where an object stands, and creates where none does: so of two
# creators the second is refused, and what the first created is owned field by field from the beginning.
NEVER: Final = "1"
_APPLY_QUERY: Final = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
# Each lost race is another writer's progress on the status or on metadata that is not ours.
ATTEMPTS: Final = 6
_PAGE: Final = "250"


class KubernetesPlatform:
    """One namespace of one cluster."""

    def __init__(
        self, settings: KubernetesSettings, *, server: ApiServer | None = None, ask: Ask = ask_over_http
    ) -> None:
        self.settings = settings
        self._server = server or ApiServer(settings)
        self._resources = stored_as(settings)
        self._observer = Observer(settings, self._server, ask)

    def get(self, kind: str, name: str) -> Manifest | None:
        live = self._live(kind, name)
        return None if live is None or _is_going(live) else undressed(self.settings, kind, live)

    def list(self, kind: str) -> list[Manifest]:
        target, found, page = self._target(kind, "(all)"), [], ""
        while True:
            query = {"labelSelector": f"{STORED_LABEL}={STORED_BY}", "limit": _PAGE, "continue": page}
            answer = self._server.read(target, target.resource.path(target.namespace), query)
            found += [item for item in answer.get("items") or [] if not _is_going(item)]
            page = str((answer.get("metadata") or {}).get("continue") or "")
            if not page:
                break
        return [undressed(self.settings, kind, item) for item in sorted(found, key=_name)]

    def apply(self, manifest: Manifest, *, expected: Expected) -> Manifest:
        kind, name = check_manifest(manifest)
        body = dressed(self.settings, manifest)
        for _ in range(ATTEMPTS):
            live = self._live(kind, name)
            self._expect(kind, name, live, expected)
            body["metadata"] |= self._owners(kind, name) | _preconditions(live, expected)
            try:
                stored = self._patch(self._target(kind, name), body)
            except Conflict as lost:
                # Somebody wrote since it was read. Whether that matters is seen in what stands there now.
                told = lost
                continue
            return undressed(self.settings, kind, stored)
        raise Conflict(kind, name, f"lost {ATTEMPTS} races in a row: {told.reason}")

    def delete(self, kind: str, name: str, *, expected: str | AnyVersion = ANY) -> bool:
        target = self._target(kind, name)
        for _ in range(ATTEMPTS):
            live = self._live(kind, name)
            if live is None or _is_going(live):
                return False
            self._expect(kind, name, live, expected)
            precondition = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
            body: Document = {"propagationPolicy": "Background", "preconditions": precondition}
            try:
                self._server.write(target, "DELETE", target.resource.path(target.namespace, name), body)
            except NotFound:
                return False
            except Conflict as lost:
                told = lost
                continue
            return True
        raise Conflict(kind, name, f"lost {ATTEMPTS} races in a row: {told.reason}")

    def status(self, kind: str, name: str) -> ServiceStatus:
        live = self._live(kind, name)
        if live is None or _is_going(live):
            raise NotFound(kind, name, "there is no such object")
        return self._observer.status(kind, live)

    def _target(self, kind: str, name: str, resource: Resource | None = None) -> Target:
        return Target(kind, name, resource or self._resources[kind], self.settings.namespace)

    def _live(self, kind: str, name: str) -> Document | None:
        target = self._target(kind, name)
        try:
            return self._server.read(target, target.resource.path(target.namespace, name))
        except NotFound:
            return None

    def _patch(self, target: Target, body: Document) -> Document:
        path = target.resource.path(target.namespace, target.name)
        return self._server.write(target, "PATCH", path, body, query=_APPLY_QUERY, content=APPLY)

    def _expect(self, kind: str, name: str, live: Document | None, expected: Expected) -> None:
        if live is not None and _is_going(live):
            raise Conflict(kind, name, "is being deleted")
        if expected is ANY:
            return
        if live is None:
            if expected is not None:
                raise Conflict(kind, name, f"resourceVersion {expected} was expected, but the object is gone")
            return
        stands = live["metadata"]["resourceVersion"]
        if expected is None:
            raise Conflict(kind, name, f"exists already (resourceVersion {stands})")
        if stands != expected and not self._reads_the_same(kind, live, expected):
            raise Conflict(kind, name, f"resourceVersion {expected} was expected, {stands} stands there")

    def _reads_the_same(self, kind: str, live: Document, expected: str) -> bool:
        """Whether only what is not the writers' has changed since: the status, or what controllers keep in metadata.

        The API server gives one resourceVersion to all of an object, so it is asked how the object stood then. It
        forgets after some minutes, and then the writer is stale.
        """
        target = self._target(kind, live["metadata"]["name"])
        if not expected.isdecimal():
            return False
        query = {
            "fieldSelector": f"metadata.name={target.name}",
            "resourceVersion": expected,
            "resourceVersionMatch": "Exact",
        }
        before = self._server.history(target, target.resource.path(target.namespace), query)
        if before is None or before["metadata"]["resourceVersion"] != expected:
            return False
        return _written(undressed(self.settings, kind, before)) == _written(undressed(self.settings, kind, live))

    def _owners(self, kind: str, name: str) -> Document:
        """The rule about a version's servers goes with the version's service, whoever deletes that."""
        if kind != DESTINATION_RULE:
            return {}
        target = self._target(kind, name, INFERENCE_SERVICES)
        try:
            owner = self._server.read(target, INFERENCE_SERVICES.path(target.namespace, name))
        except NotFound:
            return {}
        reference = {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": INFERENCE_SERVICES.kind,
            "name": name,
            "uid": owner["metadata"]["uid"],
        }
        return {"ownerReferences": [reference]}


def _preconditions(live: Document | None, expected: Expected) -> Document:
    """The uid keeps a writer from creating anew what was deleted since it was read."""
    if expected is ANY:
        return {}
    if live is None:
        return {"resourceVersion": NEVER}
    return {key: live["metadata"][key] for key in ("uid", "resourceVersion")}


def _is_going(live: Mapping[str, Any]) -> bool:
    """It only waits for its finalizers: nothing that is written to it will stay."""
    return "deletionTimestamp" in live["metadata"]


def _written(manifest: Manifest) -> Document:
    kept = {key: value for key, value in manifest["metadata"].items() if key != "resourceVersion"}
    return {key: value for key, value in manifest.items() if key != "status"} | {"metadata": kept}


def _name(live: Mapping[str, Any]) -> str:
    return str(live["metadata"]["name"])
