"""What each identity is granted by our chart: what the code says that it needs, and nothing else.

Here: the Roles of the kept renderings against `recsys_assets_tests/charts/permissions.py`. Not here: trying them
(cluster/test_charts.py).
"""

from __future__ import annotations

import pytest

from recsys_assets_tests.charts.house import CASE_FILES, granted, of_kind, rendered
from recsys_assets_tests.charts.permissions import PERMISSIONS, Identity

# What dagster_k8s asks of the API for runs and steps: client.py, launcher.py and executor.py of the pinned version.
DAGSTER_ITSELF = {
    *(("batch", "jobs", verb, "*") for verb in ("get", "list", "create", "delete")),
    ("batch", "jobs/status", "get", "*"),
    ("", "pods", "delete", "*"),
    ("", "pods/log", "get", "*"),
    ("", "events", "list", "*"),
}


def needed(identity: Identity, case: str) -> set[tuple[str, str, str, str]]:
    """The code's rights, without those on the kind of route that this installation does not use."""
    rights = {
        (rule.group, resource, verb, "*")
        for rule in PERMISSIONS[identity]
        for resource in rule.resources
        for verb in rule.verbs
    }
    unused = {"virtualservices"} if case == "gateway_api" else {"httproutes"}
    rights = {right for right in rights if right[1] not in unused}
    gateways = "networking.istio.io" if case == "gateway_api" else "gateway.networking.k8s.io"
    return {right for right in rights if right[:2] != (gateways, "gateways")}


@pytest.mark.parametrize("case", CASE_FILES)
def test_dagster_may_do_what_the_platform_needs_and_what_runs_need(case: str) -> None:
    role = of_kind(rendered(case), "Role")["recsys-dagster"]
    assert granted(role) == needed("dagster", case) | DAGSTER_ITSELF


@pytest.mark.parametrize("case", CASE_FILES)
def test_the_guard_may_change_the_one_route_and_otherwise_read(case: str) -> None:
    route = "httproutes" if case == "gateway_api" else "virtualservices"
    rights = granted(of_kind(rendered(case), "Role")["recsys-guard"])
    # Narrower than what the code asks for: this one installation has one model.
    assert {(g, r, v, "*" if r == route else n) for g, r, v, n in rights} == needed("guard", case)
    assert {(verb, name) for _, resource, verb, name in rights if resource == route} == {
        ("get", "films"),
        ("patch", "films"),
        ("list", "*"),
    }


def test_the_guard_can_make_and_remove_nothing() -> None:
    rights = granted(of_kind(rendered("mesh"), "Role")["recsys-guard"])
    assert not {"create", "delete", "deletecollection", "update", "*"} & {verb for _, _, verb, _ in rights}


def test_nobody_else_has_a_role() -> None:
    bindings = of_kind(rendered("mesh"), "RoleBinding")
    assert {b["subjects"][0]["name"]: b["roleRef"]["name"] for b in bindings.values()} == {
        "recsys-dagster": "recsys-dagster",
        "recsys-guard": "recsys-guard",
    }
    assert all(len(binding["subjects"]) == 1 for binding in bindings.values())


@pytest.mark.parametrize("identity", ["model", "gateway", "collector"])
def test_an_identity_that_serves_asks_the_api_nothing(identity: Identity) -> None:
    assert PERMISSIONS[identity] == ()


def test_no_right_is_for_everything() -> None:
    for role in of_kind(rendered("mesh"), "Role").values():
        for group, resource, verb, _ in granted(role):
            assert "*" not in (group, resource, verb)
            assert resource != "secrets"
