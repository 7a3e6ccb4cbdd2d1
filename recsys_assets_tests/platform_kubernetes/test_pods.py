"""How far a model version's pods are, from literal documents of KServe, Deployments and pods.

Here: each way not to get on, in the cluster's words. Not here: a real cluster's documents (`cluster/`).
"""

from __future__ import annotations

from typing import Any

import pytest

from recsys_assets.platform.kubernetes.dress import dressed
from recsys_assets.platform.kubernetes.kinds import SPEC_ANNOTATION
from recsys_assets.platform.kubernetes.pods import progress
from recsys_assets_tests.contracts.manifests import inference_service
from recsys_assets_tests.platform_kubernetes.stored import ISTIO

Document = dict[str, Any]


def service(ready: str | None = "True", **said: str) -> Document:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, **said}]
    return dressed(ISTIO, inference_service("films-v1")) | {"status": {"conditions": conditions}}


def digest() -> str:
    return str(service()["spec"]["predictor"]["annotations"][SPEC_ANNOTATION])


def deployment(
    *, of: str | None = None, looked_at: int = 3, conditions: tuple[Document, ...] = (), **counts: int
) -> Document:
    return {
        "metadata": {"generation": 3},
        "spec": {"template": {"metadata": {"annotations": {SPEC_ANNOTATION: of or digest()}}}},
        "status": {"observedGeneration": looked_at, "conditions": list(conditions), **counts},
    }


SERVING = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}


def pod(of: str | None = None, conditions: tuple[Document, ...] = (), **container: Any) -> Document:
    return {
        "metadata": {"name": "p1", "annotations": {SPEC_ANNOTATION: of or digest()}},
        "status": {"conditions": list(conditions), "containerStatuses": [container]},
    }


def test_pods_of_this_spec_that_serve_are_ready() -> None:
    seen = progress(service(), deployment(**SERVING), [])
    assert (seen.is_observed, seen.is_ready) == (True, True)


def test_a_ready_condition_that_is_left_over_from_another_spec_is_not_believed() -> None:
    seen = progress(service(), deployment(of="another", **SERVING), [])
    assert (seen.is_observed, seen.is_ready) == (False, False)
    assert "of another spec" in seen.reason


@pytest.mark.parametrize(("standing", "told"), [
    (None, "KServe has made no Deployment for it yet"),
    (deployment(looked_at=2, **SERVING), "was changed and is not looked at yet"),
])  # fmt: skip
def test_what_nobody_looked_at_is_not_observed(standing: Document | None, told: str) -> None:
    seen = progress(service(), standing, [])
    assert (seen.is_observed, seen.is_ready) == (False, False)
    assert told in seen.reason


def test_while_old_pods_still_serve_the_new_spec_is_not_ready() -> None:
    seen = progress(service(), deployment(replicas=2, updatedReplicas=1, availableReplicas=2), [])
    assert (seen.is_observed, seen.is_ready) == (True, False)


def test_more_pods_on_their_way_do_not_take_readiness_away() -> None:
    assert progress(service(), deployment(replicas=5, updatedReplicas=5, availableReplicas=1), []).is_ready


@pytest.mark.parametrize("said", [None, "False", "Unknown"])
def test_pods_without_kserves_word_are_not_ready(said: str | None) -> None:
    seen = progress(
        service(said, reason="Why", message="not yet") if said else service(said), deployment(**SERVING), []
    )
    assert not seen.is_ready
    assert said is None or "(Why: not yet)" in seen.reason


NO_NODE = ({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"},)
ENDED = {"terminated": {"exitCode": 3, "reason": "Error", "message": "BundleRefused: digest differs\n"}}


@pytest.mark.parametrize(("one", "told"), [
    (pod(conditions=NO_NODE), "pod p1 is on no node: unscheduled (Unschedulable: 0/3 nodes)"),
    (pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}), "ImagePullBackOff; no such"),
    (pod(state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, lastState=ENDED),
     "CrashLoopBackOff; back-off; ended with exit code 3, it said last: BundleRefused: digest differs"),
    (pod(state=ENDED), "ended with exit code 3, it said last: BundleRefused: digest differs"),
    (pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": "secret not found"}}), "secret not"),
    (pod(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "code 137, it said last: OOMKilled"),
])  # fmt: skip
def test_the_reason_is_the_pods_own(one: Document, told: str) -> None:
    seen = progress(service("False"), deployment(replicas=1, updatedReplicas=1), [one])
    assert not seen.is_ready
    assert told in seen.reason


@pytest.mark.parametrize("one", [
    pod(state={"waiting": {"reason": "ContainerCreating", "message": "soon"}}),
    pod(of="another", state=ENDED),
    pod(state={"running": {}}, lastState=ENDED, ready=True),
])  # fmt: skip
def test_a_pod_on_its_way_of_another_spec_or_well_again_is_no_reason(one: Document) -> None:
    seen = progress(service("False"), deployment(replicas=1, updatedReplicas=1), [one])
    assert seen.reason == "0 of 1 pods are available"


def test_a_deployment_that_may_make_no_pods_says_why() -> None:
    quota = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    seen = progress(service("False"), deployment(conditions=(quota,)), [])
    assert seen.reason == "its Deployment does not get on (FailedCreate: exceeded quota)"
