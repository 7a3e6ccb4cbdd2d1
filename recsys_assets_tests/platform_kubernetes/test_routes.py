"""A route dressed for the cluster and read back: exactly what was written, until somebody edits.

Here: literal routes, as VirtualService and as HTTPRoute. Not here: that Istio takes them (`cluster/test_sticky.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from recsys_assets.kubernetes_settings import GatewaySettings, KubernetesSettings
from recsys_assets.platform.interface import VIRTUAL_SERVICE, Invalid
from recsys_assets.platform.kubernetes.dress import dressed, undressed
from recsys_assets_tests.contracts.manifests import virtual_service
from recsys_assets_tests.platform_kubernetes.stored import GATEWAY_API, ISTIO, edited_by_hand, stored

CANARY = {"films-v2": 500, "films-v1": 9_500}
NOTES = {"recsys-assets.dev/release-id": "films-v2-1", "recsys-assets.dev/sticky-header": "X-User-Id"}


def with_rule(**changes: Any) -> dict[str, Any]:
    manifest = virtual_service(CANARY, annotations=NOTES)
    manifest["spec"]["http"][0] |= changes
    return manifest


def entry(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in spec.get("http") or spec["rules"] if each["name"].startswith(name))


@pytest.mark.parametrize("settings", [ISTIO, GATEWAY_API], ids=["istio", "gateway-api"])
@pytest.mark.parametrize("manifest", [
    virtual_service({"films-v1": 10_000}),
    virtual_service(CANARY, annotations=NOTES),
    virtual_service({"films-v2": 10_000, "films-v1": 0}, annotations=NOTES),
    virtual_service({"films-v2": 0, "films-v1": 10_000}),
    virtual_service({"films-v2": 5, "films-v1": 95}),
    virtual_service({"films-v1": 10_000}, shadow="films-v2"),
    with_rule(timeout="2.5s"),
    with_rule(timeout="5s"),
    with_rule(mirror={"host": "films-v3"}, mirrorPercentage={"value": 12.5}),
])  # fmt: skip
def test_what_was_written_is_read_back(settings: KubernetesSettings, manifest: dict[str, Any]) -> None:
    live = stored(settings, manifest)
    assert undressed(settings, VIRTUAL_SERVICE, live)["spec"] == manifest["spec"]


@pytest.mark.parametrize("settings", [ISTIO, GATEWAY_API], ids=["istio", "gateway-api"])
@pytest.mark.parametrize("manifest", [
    virtual_service(CANARY, annotations=NOTES),
    virtual_service({"films-v1": 10_000}, shadow="films-v2"),
    with_rule(timeout="2500ms"),
])  # fmt: skip
def test_without_the_record_of_what_was_written_the_split_is_still_read(
    settings: KubernetesSettings, manifest: dict[str, Any]
) -> None:
    live = stored(settings, manifest)
    del live["metadata"]["annotations"]["recsys-assets.dev/written"]
    shown = undressed(settings, VIRTUAL_SERVICE, live)
    assert shown["spec"]["http"] == manifest["spec"]["http"]
    assert shown["spec"]["hosts"] == ["films"]


@pytest.mark.parametrize(("shadow", "told"), [("films-v2", "films-v2"), (None, None)])
def test_whoever_gets_copies_is_named_to_the_servers(shadow: str | None, told: str | None) -> None:
    manifest = virtual_service({"films-v1": 10_000}, shadow=shadow)
    (arm,) = entry(dressed(ISTIO, manifest)["spec"], "recsys-single")["route"]
    assert arm["headers"]["request"]["set"].get("x-recsys-shadow") == told
    (backend,) = entry(dressed(GATEWAY_API, manifest)["spec"], "recsys-single")["backendRefs"]
    (modifier,) = backend["filters"]
    set_ones = {each["name"]: each["value"] for each in modifier["requestHeaderModifier"]["set"]}
    assert set_ones.get("x-recsys-shadow") == told


def test_a_gateway_tells_the_split_that_it_has() -> None:
    spec = dressed(ISTIO, virtual_service(CANARY, annotations=NOTES))["spec"]
    told = json.loads(entry(spec, "recsys-route")["directResponse"]["body"]["string"])
    assert told["route"] == "films"
    assert told["weights"] == CANARY
    other = dressed(ISTIO, virtual_service({"films-v2": 501, "films-v1": 9_499}, annotations=NOTES))["spec"]
    assert told["revision"] != json.loads(entry(other, "recsys-route")["directResponse"]["body"]["string"])["revision"]


def test_an_http_route_tells_the_split_in_the_address_that_it_redirects_to() -> None:
    spec = dressed(GATEWAY_API, virtual_service(CANARY, annotations=NOTES))["spec"]
    redirect = entry(spec, "recsys-route")["filters"][0]["requestRedirect"]["path"]["replaceFullPath"]
    assert redirect.startswith("/.well-known/recsys-route/films/")
    assert redirect.endswith("/films-v2=500/films-v1=9500")


def test_the_services_are_the_predictors_of_this_namespace() -> None:
    spec = dressed(KubernetesSettings(namespace="tv"), virtual_service(CANARY))["spec"]
    hosts = [each["destination"]["host"] for each in entry(spec, "recsys-split")["route"]]
    assert hosts == ["films-v2-predictor.tv.svc.cluster.local", "films-v1-predictor.tv.svc.cluster.local"]


def test_a_model_does_not_take_the_requests_of_another_whose_name_begins_alike() -> None:
    import re

    spec = dressed(ISTIO, virtual_service({"films-v1": 10_000}))["spec"]
    pattern = entry(spec, "recsys-single")["match"][0]["uri"]["regex"]
    taken = ["/v1/models/films:predict", "/v2/models/films/infer", "/v1/models/films", "/v1/models/filmsx:predict"]
    assert [bool(re.fullmatch(pattern, path)) for path in taken] == [True, True, False, False]
    about = "|".join(match["uri"]["regex"] for match in entry(spec, "recsys-about")["match"][:1])
    assert [bool(re.fullmatch(about, path)) for path in taken] == [False, False, True, False]


@pytest.mark.parametrize(("weights", "name"), [
    (CANARY, "recsys-split"),
    # Istio drops a destination without weight: what is left must not be taken for a split.
    ({"films-v2": 10_000, "films-v1": 0}, "recsys-single"),
    ({"films-v2": 0, "films-v1": 10_000}, "recsys-single"),
    ({"films-v1": 10_000}, "recsys-single"),
])  # fmt: skip
@pytest.mark.parametrize("settings", [ISTIO, GATEWAY_API], ids=["istio", "gateway-api"])
def test_only_a_route_that_shares_users_is_made_sticky(
    settings: KubernetesSettings, weights: dict[str, int], name: str
) -> None:
    spec = dressed(settings, virtual_service(weights))["spec"]
    names = [each["name"] for each in spec.get("http") or spec["rules"]]
    assert name in names
    assert any(each.startswith("recsys-salt.") for each in names) == (name == "recsys-split")


def test_the_salt_is_the_release_and_the_header_is_in_small_letters() -> None:
    spec = dressed(ISTIO, virtual_service(CANARY, annotations=NOTES))["spec"]
    header, salt = entry(spec, "recsys-salt")["name"].split(".")[1:]
    assert (bytes.fromhex(header), bytes.fromhex(salt)) == (b"x-user-id", b"films-v2-1")


def change_a_weight(spec: dict[str, Any]) -> None:
    first, second = entry(spec, "recsys-split")["route"]
    first["weight"], second["weight"] = 3_000, 7_000


def add_a_destination(spec: dict[str, Any]) -> None:
    entry(spec, "recsys-split")["route"].append({"destination": {"host": "elsewhere"}, "weight": 10})


def add_a_fault(spec: dict[str, Any]) -> None:
    entry(spec, "recsys-split")["fault"] = {"abort": {"httpStatus": 500, "percentage": {"value": 50}}}


def add_an_entry_before(spec: dict[str, Any]) -> None:
    spec["http"].insert(0, {"name": "mine", "route": [{"destination": {"host": "elsewhere"}}]})


def change_what_is_told(spec: dict[str, Any]) -> None:
    entry(spec, "recsys-route")["directResponse"]["body"]["string"] = "{}"


def take_another_host(spec: dict[str, Any]) -> None:
    spec["hosts"] = ["films.example"]


@pytest.mark.parametrize(
    "edit",
    [change_a_weight, add_a_destination, add_a_fault, add_an_entry_before, change_what_is_told, take_another_host],
)
def test_an_edit_by_hand_is_seen(edit: Callable[[dict[str, Any]], None]) -> None:
    manifest = virtual_service(CANARY, annotations=NOTES)
    live = stored(ISTIO, manifest)
    edit(live["spec"])
    edited_by_hand(live, {"f:http": {}, "f:hosts": {}})
    assert undressed(ISTIO, VIRTUAL_SERVICE, live)["spec"] != manifest["spec"]


def test_an_edited_weight_is_read_in_the_words_of_the_room() -> None:
    live = stored(ISTIO, virtual_service(CANARY, annotations=NOTES))
    change_a_weight(live["spec"])
    edited_by_hand(live, {"f:http": {}})
    shown = undressed(ISTIO, VIRTUAL_SERVICE, live)["spec"]
    assert shown == virtual_service({"films-v2": 3_000, "films-v1": 7_000})["spec"]


def test_an_edit_that_was_taken_back_is_none() -> None:
    manifest = virtual_service(CANARY, annotations=NOTES)
    live = stored(ISTIO, manifest)
    edited_by_hand(live, {"f:http": {}})
    assert undressed(ISTIO, VIRTUAL_SERVICE, live)["spec"] == manifest["spec"]


def test_an_edited_http_route_is_seen() -> None:
    live = stored(GATEWAY_API, virtual_service(CANARY, annotations=NOTES))
    for backend, weight in zip(entry(live["spec"], "recsys-split")["backendRefs"], (3_000, 7_000), strict=True):
        backend["weight"] = weight
    edited_by_hand(live, {"f:rules": {}})
    shown = undressed(GATEWAY_API, VIRTUAL_SERVICE, live)["spec"]
    assert shown == virtual_service({"films-v2": 3_000, "films-v1": 7_000})["spec"]


@pytest.mark.parametrize(("change", "place"), [
    ({"retries": {"attempts": 5}}, r"spec\.http\[0\]\.retries: has no place in an HTTPRoute"),
    ({"fault": {"abort": {"httpStatus": 500}}}, r"spec\.http\[0\]\.fault: has no place"),
    ({"headers": {"request": {"set": {"a": "b"}}}}, r"spec\.http\[0\]\.headers: has no place"),
])  # fmt: skip
def test_what_an_http_route_cannot_do_is_refused(change: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid, match=place):
        dressed(GATEWAY_API, with_rule(**change))


def test_what_is_not_the_writers_is_not_shown() -> None:
    live = stored(ISTIO, virtual_service(CANARY, annotations=NOTES))
    live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    live["metadata"]["labels"]["team"] = "films"
    live["metadata"]["annotations"]["recsys-assets.dev/by-hand"] = "yes"
    shown = undressed(ISTIO, VIRTUAL_SERVICE, live)["metadata"]
    assert shown["annotations"] == NOTES | {"recsys-assets.dev/by-hand": "yes"}
    assert "labels" not in shown
    assert shown["resourceVersion"] == "7"


def test_the_hosts_and_the_gateway_are_those_of_the_settings() -> None:
    gateway = GatewaySettings(name="front", namespace="doors", hosts=("tv.example",))
    spec = dressed(KubernetesSettings(gateway=gateway), virtual_service({"films-v1": 10_000}))["spec"]
    assert (spec["hosts"], spec["gateways"]) == (["tv.example"], ["doors/front"])
    other = KubernetesSettings(gateway=gateway, route="gateway-api")
    rules = dressed(other, virtual_service({"films-v1": 10_000}))["spec"]
    assert rules["hostnames"] == ["tv.example"]
    assert rules["parentRefs"][0]["namespace"] == "doors"
