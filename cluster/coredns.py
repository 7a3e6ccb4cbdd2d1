"""CoreDNS as manifests: the name service of the cluster.

Here: its account, configuration, Deployment and Service. Not here: sending them.
"""

from __future__ import annotations

from typing import Any

from cluster.components import CLUSTER_DOMAIN
from cluster.part_images import COREDNS_IMAGE

# There is no server to forward to: a name outside the cluster does not exist, and is said so at once. That takes a zone
# of its own, since within one zone CoreDNS asks `template` before it asks `kubernetes`.
COREFILE = f"""
{CLUSTER_DOMAIN}:1053 in-addr.arpa:1053 {{
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
}}
.:1053 {{
    errors
    health :8080 {{
        lameduck 2s
    }}
    ready :8181
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def coredns_manifests(address: str) -> list[dict[str, Any]]:
    """Everything that CoreDNS needs, in the order of creation."""
    labels = {"k8s-app": "kube-dns"}
    here = {"name": "coredns", "namespace": "kube-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    subject = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
    read = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
    ]
    rbac = "rbac.authorization.k8s.io/v1"
    ports = [{"name": name, "port": 53, "targetPort": 1053, "protocol": name.upper()} for name in ("udp", "tcp")]
    service = {"selector": labels, "clusterIP": address, "ports": ports}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": role,
            "subjects": [subject],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": here, "data": {"Corefile": COREFILE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": here, "spec": _deployment(labels)},
        {"apiVersion": "v1", "kind": "Service", "metadata": here | {"name": "kube-dns"}, "spec": service},
    ]


def _deployment(labels: dict[str, str]) -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": COREDNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "runAsNonRoot": True},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 10},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
