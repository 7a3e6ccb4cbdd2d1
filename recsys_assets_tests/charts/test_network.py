"""Who may speak to whom: the NetworkPolicies and AuthorizationPolicies of the kept renderings, read as tables.

Here: the pairs that are allowed, written out. Not here: that a network plugin or a sidecar enforces them.
"""

from __future__ import annotations

from typing import Any

from recsys_assets_tests.charts.house import Document, of_kind, rendered

IDENTITY = "recsys-assets.dev/identity"
MODEL_LABELS = {"component": "predictor"}
INSIDE = {
    ("gateway", "model", 8080),
    ("gateway", "collector", 8082),
    ("dagster", "model", 8080),
    ("dagster", "gateway", 8080),
    ("dagster", "mlflow", 5000),
    ("dagster", "dagster", 3000),
    ("dagster", "dagster", 3030),
    ("guard", "gateway", 8080),
}


def who(selector: dict[str, Any]) -> str:
    labels = selector.get("matchLabels", {})
    return "model" if labels == MODEL_LABELS else str(labels[IDENTITY])


def policies() -> dict[str, Document]:
    return of_kind(rendered("mesh"), "NetworkPolicy")


def pairs(direction: str, peers: str) -> set[tuple[str, str, int]]:
    """Every pair inside the namespace, seen from one side."""
    found = set()
    for policy in policies().values():
        for rule in policy["spec"].get(direction, []):
            inside = [peer["podSelector"] for peer in rule[peers] if peer.keys() == {"podSelector"}]
            for selector in inside:
                mine, other = who(policy["spec"]["podSelector"]), who(selector)
                here = (other, mine) if direction == "ingress" else (mine, other)
                found |= {(*here, port["port"]) for port in rule["ports"]}
    return found


def test_what_is_not_allowed_is_denied_for_every_pod_in_both_directions() -> None:
    nothing = policies()["recsys-nothing"]["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_pairs_inside_are_these_and_both_sides_agree() -> None:
    assert pairs("ingress", "from") == INSIDE
    assert pairs("egress", "to") == INSIDE


def test_only_the_gateway_takes_traffic_from_anywhere() -> None:
    open_to = {
        name
        for name, policy in policies().items()
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        if "ipBlock" in peer
    }
    assert open_to == {"recsys-gateway"}


def test_each_reaches_only_the_stores_that_it_uses() -> None:
    ports = {
        name.removeprefix("recsys-"): sorted(
            port["port"]
            for rule in policy["spec"].get("egress", [])
            if any("ipBlock" in peer for peer in rule["to"])
            for port in rule["ports"]
        )
        for name, policy in policies().items()
    }
    assert {name: found for name, found in ports.items() if found} == {
        "dagster": [443, 443, 5432, 6379, 6443],
        "guard": [443, 5432, 6443],
        "mlflow": [443, 5432],
        "model": [443, 6379],
        "notifier": [5432],
    }


def test_a_store_without_an_address_is_closed() -> None:
    """The example names no address for webhooks."""
    (postgres,) = policies()["recsys-notifier"]["spec"]["egress"]
    assert [port["port"] for port in postgres["ports"]] == [5432]


def test_names_and_the_control_plane_are_there_for_everybody() -> None:
    dns, istiod = policies()["recsys-everybody"]["spec"]["egress"]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert {port["port"] for port in istiod["ports"]} == {15010, 15012}


def test_in_the_mesh_each_server_takes_proven_senders_only() -> None:
    documents = rendered("mesh")
    (mode,) = of_kind(documents, "PeerAuthentication").values()
    assert mode["spec"] == {"mtls": {"mode": "STRICT"}}
    senders = {
        name.removeprefix("recsys-"): {
            principal.removeprefix("cluster.local/ns/recsys/sa/recsys-")
            for rule in policy["spec"].get("rules") or []
            for source in rule["from"]
            for principal in source["source"]["principals"]
        }
        for name, policy in of_kind(documents, "AuthorizationPolicy").items()
    }
    assert senders == {
        "model": {"gateway", "dagster"},
        "collector": {"gateway"},
        "mlflow": {"dagster"},
        "code-location": {"dagster"},
        "guard": set(),
        "notifier": set(),
    }
    for policy in of_kind(documents, "AuthorizationPolicy").values():
        assert policy["spec"]["action"] == "ALLOW"
        assert policy["spec"]["selector"]["matchLabels"]


def test_a_scraper_may_read_metrics_and_nothing_else() -> None:
    model = of_kind(rendered("gateway_api"), "AuthorizationPolicy")["recsys-model"]["spec"]["rules"]
    scraping = model[1]
    assert scraping["from"] == [{"source": {"principals": ["cluster.local/ns/monitoring/sa/prometheus"]}}]
    assert scraping["to"] == [{"operation": {"methods": ["GET"], "paths": ["/metrics"]}}]


def test_outside_the_mesh_no_policy_pretends_to_be_enforced() -> None:
    assert not of_kind(rendered("plain"), "PeerAuthentication")
    assert not of_kind(rendered("plain"), "AuthorizationPolicy")
