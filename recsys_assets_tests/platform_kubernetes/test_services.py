"""InferenceServices and DestinationRules read back: defaults of the cluster are not shown, edits by hand are.

Here: literal documents with what KServe's webhook adds. Not here: that it adds just this.
"""

from __future__ import annotations

from typing import Any

import pytest

from recsys_assets.platform.interface import DESTINATION_RULE, INFERENCE_SERVICE
from recsys_assets.platform.kubernetes.dress import dressed, undressed
from recsys_assets.platform.kubernetes.kinds import APPLIED_ANNOTATION
from recsys_assets_tests.contracts.manifests import destination_rule, inference_service
from recsys_assets_tests.platform_kubernetes.stored import ISTIO, edited_by_hand, stored


def container(live: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = live["spec"]["predictor"]["containers"][0]
    return found


def test_defaults_that_a_webhook_adds_are_not_shown() -> None:
    manifest = inference_service("films-v1")
    live = stored(ISTIO, manifest)
    container(live)["resources"] = {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}
    live["spec"]["predictor"]["minReplicas"] = 1
    assert undressed(ISTIO, INFERENCE_SERVICE, live)["spec"] == manifest["spec"]


@pytest.mark.parametrize(("written", "stored_as", "same"), [
    ("1000m", "1", True),
    ("0.5", "500m", True),
    ("1024Mi", "1Gi", True),
    ("1", "2", False),
    ("1Gi", "1G", False),
])  # fmt: skip
def test_a_size_in_another_way_of_writing_is_the_same(written: str, stored_as: str, same: bool) -> None:
    manifest = inference_service("films-v1")
    container(manifest)["resources"] = {"limits": {"cpu": written}}
    live = stored(ISTIO, manifest)
    container(live)["resources"]["limits"]["cpu"] = stored_as
    assert (undressed(ISTIO, INFERENCE_SERVICE, live)["spec"] == manifest["spec"]) is same


def test_a_value_that_somebody_changed_is_shown() -> None:
    live = stored(ISTIO, inference_service("films-v1"))
    container(live)["image"] = "another"
    shown = undressed(ISTIO, INFERENCE_SERVICE, live)
    assert container(shown)["image"] == "another"
    assert "annotations" not in shown["spec"]["predictor"]


def test_a_field_that_somebody_added_is_shown() -> None:
    live = stored(ISTIO, inference_service("films-v1"))
    live["spec"]["predictor"]["maxReplicas"] = 9
    edited_by_hand(live, {"f:predictor": {"f:maxReplicas": {}}})
    assert undressed(ISTIO, INFERENCE_SERVICE, live)["spec"]["predictor"]["maxReplicas"] == 9


def test_a_field_that_somebody_added_inside_a_list_is_shown() -> None:
    live = stored(ISTIO, inference_service("films-v1"))
    container(live)["env"] = [{"name": "DEBUG", "value": "1"}]
    item = 'k:{"name":"kserve-container"}'
    below = {".": {}, 'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}
    edited_by_hand(live, {"f:predictor": {"f:containers": {item: {"f:env": below}}}})
    assert container(undressed(ISTIO, INFERENCE_SERVICE, live))["env"]


def test_what_a_controller_writes_into_the_status_is_no_edit() -> None:
    manifest = inference_service("films-v1")
    live = stored(ISTIO, manifest)
    edited_by_hand(live, {"f:predictor": {"f:maxReplicas": {}}})
    live["metadata"]["managedFields"][-1] |= {"manager": "manager", "subresource": "status"}
    assert undressed(ISTIO, INFERENCE_SERVICE, live)["spec"] == manifest["spec"]


def test_a_release_that_claims_a_service_changes_nothing_that_reaches_its_pods() -> None:
    manifest = inference_service("films-v1")
    claimed = inference_service("films-v1")
    claimed["metadata"]["annotations"]["recsys-assets.dev/release-id"] = "films-v1-1"
    free, taken = stored(ISTIO, manifest), stored(ISTIO, claimed)
    assert undressed(ISTIO, INFERENCE_SERVICE, taken)["metadata"]["annotations"] == claimed["metadata"]["annotations"]
    assert undressed(ISTIO, INFERENCE_SERVICE, free)["metadata"]["annotations"] == manifest["metadata"]["annotations"]
    for live in (free, taken):
        del live["metadata"]["annotations"][APPLIED_ANNOTATION]  # KServe hands this one on to nobody
    assert free == taken


def test_the_digest_of_a_service_follows_its_spec() -> None:
    one, same, other = (
        dressed(ISTIO, inference_service("films-v1", args=args))["spec"]["predictor"]["annotations"]
        for args in (["60"], ["60"], ["61"])
    )
    assert one == same
    assert one != other


def test_a_rule_is_about_the_predictor_and_leaves_idle_connections_first() -> None:
    spec = dressed(ISTIO, destination_rule("films-v1"))["spec"]
    assert spec["host"] == "films-v1-predictor.recsys.svc.cluster.local"
    assert spec["trafficPolicy"]["connectionPool"]["http"]["idleTimeout"] == "4s"


def test_a_rule_is_read_back_with_and_without_its_record() -> None:
    manifest = destination_rule("films-v1")
    live = stored(ISTIO, manifest)
    assert undressed(ISTIO, DESTINATION_RULE, live)["spec"] == manifest["spec"]
    del live["metadata"]["annotations"]["recsys-assets.dev/written"]
    assert undressed(ISTIO, DESTINATION_RULE, live)["spec"] == manifest["spec"]


def test_a_rule_without_a_policy_has_none_when_it_is_read() -> None:
    manifest = destination_rule("films-v1")
    del manifest["spec"]["trafficPolicy"]
    live = stored(ISTIO, manifest)
    del live["metadata"]["annotations"]["recsys-assets.dev/written"]
    assert undressed(ISTIO, DESTINATION_RULE, live)["spec"] == {"host": "films-v1"}
