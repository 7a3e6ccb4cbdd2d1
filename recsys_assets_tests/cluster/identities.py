"""The identities of an installation with exactly the rights that `charts/permissions.py` lists for them.

Here: ServiceAccounts, Roles and bindings. Not here: the chart's own Roles.
"""

from __future__ import annotations

from typing import Any

from cluster.api import Api
from recsys_assets_tests.charts.permissions import PERMISSIONS, Identity, Rule

RBAC = "rbac.authorization.k8s.io/v1"


def create_identities(api: Api, namespace: str) -> None:
    """One of each, in this namespace, by its own name."""
    for identity, rules in PERMISSIONS.items():
        for document in _documents(namespace, identity, rules):
            api.apply(document)


def _documents(namespace: str, identity: Identity, rules: tuple[Rule, ...]) -> list[dict[str, Any]]:
    metadata = {"name": identity, "namespace": namespace}
    role = {
        "apiVersion": RBAC,
        "kind": "Role",
        "metadata": metadata,
        "rules": [
            {"apiGroups": [rule.group], "resources": list(rule.resources), "verbs": list(rule.verbs)} for rule in rules
        ],
    }
    binding = {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": identity},
        "subjects": [{"kind": "ServiceAccount", "name": identity, "namespace": namespace}],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return [account, role, binding]
