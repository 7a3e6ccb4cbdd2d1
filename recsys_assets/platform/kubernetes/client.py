"""One connection to an API server over the official client: paths and JSON in, JSON or a typed error out.

Here: credentials, time limits, and asking again where that is safe. Not here: what is asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import Missing, PlatformError, Unavailable
from recsys_assets.platform.kubernetes.errors import Target, refusal, unreachable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Document = dict[str, Any]
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
# A read that failed may be done again: it changes nothing. A write is never sent twice.
READ_ATTEMPTS: Final = 3
READ_PAUSE_SECONDS: Final = 0.2
_POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ApiServer:
    """The API server of these settings. Connects when it is first asked."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._client: ApiClient | None = None

    def read(self, target: Target, path: str, query: Mapping[str, str] | None = None) -> Document:
        """GET, again where the server was busy or away for a moment."""
        for attempt in range(1, READ_ATTEMPTS):
            try:
                return self._send(target, "GET", path, query)
            except Missing:
                raise
            except Unavailable:
                time.sleep(READ_PAUSE_SECONDS * attempt)
        return self._send(target, "GET", path, query)

    def history(self, target: Target, path: str, query: Mapping[str, str]) -> Document | None:
        """The one object of a list as it stood at a version; None where it is forgotten or was not there."""
        try:
            answer = self._send(target, "GET", path, query)
        except PlatformError:
            return None
        found = answer.get("items") or []
        return found[0] if len(found) == 1 else None

    def write(
        self,
        target: Target,
        method: str,
        path: str,
        body: Document,
        *,
        query: Mapping[str, str] | None = None,
        content: str = JSON,
    ) -> Document:
        """Send once. Unavailable says nothing about whether it was done."""
        return self._send(target, method, path, query, body=body, content=content)

    def _send(
        self,
        target: Target,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        body: Document | None = None,
        content: str = JSON,
    ) -> Document:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        settings = self._settings
        try:
            answer: Document = self._connected(target).call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": JSON, "Content-Type": content},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=(settings.connect_timeout_seconds, settings.request_timeout_seconds),
            )
        except ApiException as told:
            if not told.status:
                raise unreachable(target, str(told.reason)) from None
            raise refusal(target, int(told.status), _text(told.body)) from None
        except (HTTPError, OSError) as broken:
            raise unreachable(target, f"{type(broken).__name__}: {broken}") from None
        return answer

    def _connected(self, target: Target) -> ApiClient:
        if self._client is None:
            self._client = _connect(self._settings, target)
        return self._client


def _connect(settings: KubernetesSettings, target: Target) -> ApiClient:
    from kubernetes import client, config

    given = client.Configuration()
    # The library's own retries would send a write again whose answer was lost.
    given.retries = False
    try:
        if settings.kubeconfig is None and settings.context is None and _POD_TOKEN.exists():
            config.load_incluster_config(client_configuration=given)
        else:
            config.load_kube_config(
                config_file=settings.kubeconfig, context=settings.context, client_configuration=given
            )
    except (config.ConfigException, OSError) as broken:
        raise Unavailable(target.kind, target.name, f"no credentials for an API server: {broken}") from None
    return client.ApiClient(configuration=given)


def _text(body: object) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
