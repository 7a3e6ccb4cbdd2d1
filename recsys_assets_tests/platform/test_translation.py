"""Manifests to Envoy documents, on literal manifests.

Here: the pure translation. Not here: that a real Envoy agrees (`test_gateway.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.platform.local.bucket import BUCKETS
from recsys_assets.platform.local.envoy import translate
from recsys_assets.platform.local.envoy_listener import GatewayPlace
from recsys_assets.platform.local.routing import ServiceView, effective_route, service_of
from recsys_assets_tests.contracts.manifests import destination_rule, virtual_service
from recsys_assets_tests.platform.bucket_twin import bucket

PLACE = GatewayPlace("127.0.0.1", 8080, 8081, 8082, Path("/home"), Path("/home/access.jsonl"))
V1, V2, V3 = ServiceView(True, 8101), ServiceView(True, 8102), ServiceView(True, 8103)
DOWN = ServiceView(False, 8102, "starting")


def recommend(services: dict[str, ServiceView], manifest: dict[str, Any]) -> dict[str, Any]:
    """The first route that takes recommendations for films."""
    hosts = translate([manifest], [], services, PLACE).rds["resources"][0]["virtual_hosts"][0]
    return next(route for route in hosts["routes"] if route["name"] == "films")


def split(route: dict[str, Any]) -> list[tuple[str, int]]:
    return [(c["name"], c["weight"]) for c in route["route"]["weighted_clusters"]["clusters"]]


def test_the_canary_stands_first_and_falls_back_to_stable() -> None:
    route = recommend({"films-v1": V1, "films-v2": V2}, virtual_service({"films-v2": 1_000, "films-v1": 9_000}))
    assert split(route) == [("films-v2|films-v1", 1_000), ("films-v1", 9_000)]


def test_percents_become_basis_points() -> None:
    route = recommend({"films-v1": V1, "films-v2": V2}, virtual_service({"films-v2": 25, "films-v1": 75}))
    assert split(route) == [("films-v2|films-v1", 2_500), ("films-v1", 7_500)]


def test_each_arm_names_its_variant() -> None:
    route = recommend({"films-v1": V1, "films-v2": V2}, virtual_service({"films-v2": 1, "films-v1": 9_999}))
    added = [c["request_headers_to_add"][0] for c in route["route"]["weighted_clusters"]["clusters"]]
    assert [a["header"] for a in added] == [
        {"key": "x-recsys-variant", "value": "canary"},
        {"key": "x-recsys-variant", "value": "stable"},
    ]
    assert {a["append_action"] for a in added} == {"OVERWRITE_IF_EXISTS_OR_ADD"}


def test_a_canary_with_all_the_weight_leaves_no_empty_arm() -> None:
    route = recommend({"films-v1": V1, "films-v2": V2}, virtual_service({"films-v2": 10_000, "films-v1": 0}))
    assert split(route) == [("films-v2|films-v1", 10_000)]


def test_an_answer_of_500_is_never_asked_for_again() -> None:
    route = recommend({"films-v1": V1}, virtual_service({"films-v1": 10_000}))
    assert route["route"]["retry_policy"]["retry_on"] == "connect-failure,refused-stream,reset"


def test_a_canary_that_is_not_ready_gets_nothing_and_the_status_says_so() -> None:
    asked = virtual_service({"films-v2": 2_500, "films-v1": 7_500})
    route = effective_route(asked, {"films-v1": V1, "films-v2": DOWN})
    assert route.weights == {"films-v1": 10_000, "films-v2": 0}
    assert not route.ready
    assert route.reason == "canary films-v2 is not ready (starting): its 2500 bp go to stable"


def test_a_canary_of_weight_zero_need_not_be_ready() -> None:
    route = effective_route(virtual_service({"films-v2": 0, "films-v1": 10_000}), {"films-v1": V1, "films-v2": DOWN})
    assert route.ready


def test_a_shadow_that_is_not_ready_gets_no_copies() -> None:
    asked = virtual_service({"films-v1": 10_000}, shadow="films-v2")
    route = effective_route(asked, {"films-v1": V1, "films-v2": DOWN})
    assert route.shadow is None
    assert route.reason == "shadow films-v2 is not ready (starting): it gets no copies"


def test_the_shadow_gets_copies_of_everything() -> None:
    asked = virtual_service({"films-v1": 10_000}, shadow="films-v2")
    policies = recommend({"films-v1": V1, "films-v2": V2}, asked)["route"]["request_mirror_policies"]
    share = {"numerator": 1_000_000, "denominator": "MILLION"}
    assert policies == [{"cluster": "films-v2", "runtime_fraction": {"default_value": share}}]


def test_without_a_stable_nobody_is_given_to_an_unproven_canary() -> None:
    asked = virtual_service({"films-v2": 1_000, "films-v1": 9_000})
    assert effective_route(asked, {"films-v2": V2}).weights == {"films-v1": 9_000, "films-v2": 1_000}
    assert effective_route(asked, {"films-v2": V2}).reason == "stable films-v1 is absent"
    route = recommend({}, virtual_service({"films-v1": 10_000}))
    assert route["direct_response"] == {"status": 503, "body": {"inline_string": "stable films-v1 is absent"}}


def test_a_stable_that_is_not_ready_is_said_and_keeps_its_users() -> None:
    route = effective_route(virtual_service({"films-v1": 10_000}), {"films-v1": DOWN})
    assert route.weights == {"films-v1": 10_000}
    assert (route.ready, route.reason) == (False, "stable films-v1 is not ready (starting)")


def test_the_salt_is_the_release_so_that_each_release_draws_its_own_users() -> None:
    asked = virtual_service({"films-v1": 10_000}, annotations={"recsys-assets.dev/release-id": "r7"})
    assert effective_route(asked, {"films-v1": V1}).salt == "r7"
    assert effective_route(virtual_service({"films-v1": 10_000}), {"films-v1": V1}).salt == "films"


def test_hosts_of_both_platforms_mean_the_same_service() -> None:
    hosts = ["films-v1", "films-v1-predictor", "films-v1-predictor.ns.svc.cluster.local"]
    assert {service_of(host) for host in hosts} == {"films-v1"}


def test_clusters_stand_for_services_fallbacks_and_the_collector() -> None:
    asked = virtual_service({"films-v2": 1_000, "films-v1": 9_000})
    documents = translate([asked], [], {"films-v1": V1, "films-v2": V2}, PLACE)
    names = [cluster["name"] for cluster in documents.cds["resources"]]
    assert names == ["collector", "films-v1", "films-v2", "films-v2|films-v1"]
    address = documents.eds["films-v2"]["resources"][0]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"socket_address": {"address": "127.0.0.1", "port_value": 8102}}


def test_only_a_destination_rule_ejects_for_answers_of_5xx() -> None:
    documents = translate([], [destination_rule("films-v2")], {"films-v1": V1, "films-v2": V2}, PLACE)
    outliers = {c["name"]: c.get("outlier_detection") for c in documents.cds["resources"]}
    assert outliers["films-v1"]["enforcing_consecutive_gateway_failure"] == 0
    assert outliers["films-v2"]["enforcing_consecutive_gateway_failure"] == 100
    assert outliers["films-v2"]["base_ejection_time"] == "5s"
    assert outliers["films-v2"]["enforcing_consecutive_5xx"] == 0


def test_the_same_world_gives_the_same_bytes_and_a_new_weight_changes_routes_alone() -> None:
    world = {"films-v2": V2, "films-v1": V1}
    first = translate([virtual_service({"films-v2": 1_000, "films-v1": 9_000})], [], world, PLACE)
    again = translate(
        [virtual_service({"films-v2": 1_000, "films-v1": 9_000})], [], dict(reversed(world.items())), PLACE
    )
    more = translate([virtual_service({"films-v2": 2_500, "films-v1": 7_500})], [], world, PLACE)
    assert json.dumps(first.cds) == json.dumps(again.cds)
    assert json.dumps(first.rds) == json.dumps(again.rds)
    assert (first.cds, first.lds, first.eds) == (more.cds, more.lds, more.eds)
    assert first.rds["version_info"] != more.rds["version_info"]


def test_without_a_route_everyone_is_told_so() -> None:
    last = translate([], [], {}, PLACE).rds["resources"][0]["virtual_hosts"][0]["routes"][-1]
    assert last["direct_response"] == {"status": 503, "body": {"inline_string": "no route is deployed yet"}}


def test_buckets_are_even_and_those_of_two_releases_independent() -> None:
    users = [str(i) for i in range(10_000)]
    first = {user for user in users if bucket(user, "r1") < BUCKETS // 10}
    second = {user for user in users if bucket(user, "r2") < BUCKETS // 10}
    # Binomial(10000, .1) has a deviation of 30, Binomial(10000, .01) of 10.
    assert abs(len(first) - 1_000) < 150
    assert abs(len(first & second) - 100) < 50


@given(user=st.text(), salt=st.text())
def test_a_bucket_is_always_one_of_ten_thousand(user: str, salt: str) -> None:
    user, salt = (text.encode("utf-8", "ignore").decode() for text in (user, salt))
    assert 0 <= bucket(user, salt) < BUCKETS
