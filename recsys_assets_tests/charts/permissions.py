"""What each identity may do on the cluster, and nothing else: the chart's Roles are made of it, tests try the rest.

Here: verbs by resource. Not here: Role objects (the chart's), or who runs as whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Identity = Literal["dagster", "guard", "model", "gateway", "collector"]


@dataclass(frozen=True)
class Rule:
    """Verbs on resources of one API group, in the installation's namespace (the gateway's own where it has another)."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


READ: Final = ("get", "list")
# Server-side apply is a patch, and a create where nothing stands.
CRUD: Final = (*READ, "create", "patch", "delete")
# One installation stores its routes as one of the two; the other's rule may be left out.
_ROUTES: Final = (
    ("networking.istio.io", "virtualservices"),
    ("gateway.networking.k8s.io", "httproutes"),
)

PERMISSIONS: Final[Mapping[Identity, tuple[Rule, ...]]] = MappingProxyType(
    {
        "dagster": (
            Rule("serving.kserve.io", ("inferenceservices",), CRUD),
            *(Rule(group, (plural,), CRUD) for group, plural in _ROUTES),
            Rule("networking.istio.io", ("destinationrules",), CRUD),
            # How far things are: the model's Deployment and pods, and the gateway's pods.
            Rule("apps", ("deployments",), READ),
            Rule("", ("pods", "services"), READ),
            Rule("discovery.k8s.io", ("endpointslices",), READ),
            # Whether everything is there that a release needs.
            Rule("", ("namespaces",), ("get",)),
            Rule("networking.istio.io", ("gateways",), ("get",)),
            Rule("gateway.networking.k8s.io", ("gateways",), ("get",)),
        ),
        # It takes weight from a canary, so it changes a route that stands. It makes none and removes none.
        "guard": (
            *(Rule(group, (plural,), (*READ, "patch")) for group, plural in _ROUTES),
            Rule("serving.kserve.io", ("inferenceservices",), READ),
            Rule("apps", ("deployments",), READ),
            Rule("", ("pods", "services"), READ),
        ),
        "model": (),
        "gateway": (),
        "collector": (),
    }
)
