"""The few requests to an API server that bringing a cluster up takes, without a client library.

Here: get, server-side apply and delete with an admin's certificate. Not here: the product's own client.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cluster.errors import ClusterError
from cluster.pki import Pair
from cluster.processes import poll

FIELD_MANAGER = "recsys-assets-cluster"
TIMEOUT_SECONDS = 30
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ApiError(ClusterError):
    """The API server refused a request, with its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """An API server, asked as the owner of a certificate."""

    def __init__(self, server: str, authority: Path, identity: Pair) -> None:
        self._where = urlsplit(server)
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._tls.load_cert_chain(identity.certificate, identity.key)
        self._paths: dict[tuple[str, str], tuple[str, bool]] = {}

    def request(self, method: str, path: str, body: str | None = None, content_type: str = "application/json") -> Any:
        """One request; the decoded answer, or ApiError with the server's reason."""
        connection = http.client.HTTPSConnection(self._where.netloc, context=self._tls, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": content_type, "Accept": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        decoded = json.loads(raw) if "json" in (answer.getheader("Content-Type") or "") else raw.decode()
        if answer.status >= 400:
            reason = decoded.get("message", "") if isinstance(decoded, dict) else decoded
            raise ApiError(answer.status, f"{method} {path}: {answer.status}: {reason}")
        return decoded

    def exists(self, path: str) -> bool:
        """Whether there is an object at this path."""
        try:
            self.request("GET", path)
        except ApiError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def is_ready(self) -> bool:
        """Whether the server says that it is ready; a refused connection is a no."""
        try:
            return bool(self.request("GET", "/readyz") == "ok")
        except (OSError, http.client.HTTPException, ApiError):
            return False

    def apply(self, document: dict[str, Any], namespace: str = "default") -> Any:
        """Server-side apply of one object, of any kind that the server knows; fields of others are taken over.

        `namespace` is for an object that lives in one and names none, as charts leave it.
        """
        if self._resource(document["apiVersion"], document["kind"])[1]:
            document = document | {"metadata": {"namespace": namespace} | document["metadata"]}
        path = f"{self.path_of(document)}?fieldManager={FIELD_MANAGER}&force=true"
        return self.request("PATCH", path, json.dumps(document), "application/apply-patch+yaml")

    def apply_text(self, text: str, namespace: str = "default") -> None:
        """Apply every document of a YAML text, definitions and namespaces before what needs them."""
        documents = [each for each in yaml.load_all(text, YAML) if each]
        first = [each for each in documents if each["kind"] in ("CustomResourceDefinition", "Namespace")]
        for document in first:
            self.apply(document)
        for document in first:
            if document["kind"] == "CustomResourceDefinition":
                self.wait_established(document["metadata"]["name"])
        for document in documents:
            if document not in first:
                self.apply(document, namespace)

    def wait_established(self, name: str, timeout_seconds: float = 300) -> None:
        """Wait until objects of a definition can be sent and read: for a moment its storage is being made."""

        def established() -> bool:
            found = self.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
            conditions = found.get("status", {}).get("conditions") or []
            is_told = any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
            return is_told and all(self._is_served(found["spec"], version) for version in found["spec"]["versions"])

        poll(f"the definition {name} being established", established, timeout_seconds)

    def _is_served(self, spec: dict[str, Any], version: dict[str, Any]) -> bool:
        if not version["served"]:
            return True
        try:
            self.request("GET", f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}?limit=1")
        except ApiError as error:
            if error.status in {http.HTTPStatus.NOT_FOUND, http.HTTPStatus.TOO_MANY_REQUESTS}:
                return False
            raise
        return True

    def path_of(self, document: dict[str, Any]) -> str:
        """The path of an object, by the server's own list of kinds."""
        version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
        plural, namespaced = self._resource(version, kind)
        prefix = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        within = f"/namespaces/{metadata['namespace']}" if namespaced else ""
        return f"{prefix}{within}/{plural}/{metadata['name']}"

    def _resource(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self._paths:
            prefix = f"/api/{version}" if "/" not in version else f"/apis/{version}"
            for each in self.request("GET", prefix)["resources"]:
                if "/" not in each["name"]:
                    self._paths[version, each["kind"]] = (each["name"], each["namespaced"])
        if (version, kind) not in self._paths:
            raise ClusterError(f"the API server knows no kind {kind} in {version}")
        return self._paths[version, kind]
