"""How tests and installers reach an API server: as the admin, or as a service account.

Here: kubeconfigs and the small client, read from a state folder. Not here: what runs the server.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

from cluster.api import Api
from cluster.kubeconfig import write_kubeconfig
from cluster.pki import Pair


class Access:
    """An API server whose authority and admin's certificate stand below `state`/pki."""

    state: Path
    server: str

    @property
    def authority_file(self) -> Path:
        """The certificate that clients trust."""
        return self.state / "pki" / "kubernetes.crt"

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self.state / "admin.kubeconfig"

    @cached_property
    def api(self) -> Api:
        """The API server as the admin, for what installing takes."""
        admin = Pair(self.state / "pki" / "admin.crt", self.state / "pki" / "admin.key")
        return Api(self.server, self.authority_file, admin)

    def kubeconfig_of_service_account(self, namespace: str, name: str, lifetime_seconds: int = 3600) -> Path:
        """A kubeconfig with a token that the API server issued for this service account: RBAC is tried, not read."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        answer = self.api.request("POST", path, json.dumps(asked | {"spec": {"expirationSeconds": lifetime_seconds}}))
        target = self.state / f"{namespace}.{name}.kubeconfig"
        return write_kubeconfig(target, self.server, self.authority_file, answer["status"]["token"])
