"""What goes wrong between the platform and a real API server, and what a person finds in the error.

Here: races, edits by hand, refusals, lost connections, rights. Not here: literal answers (`platform_kubernetes/`).
"""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane
from cluster.processes import poll
from recsys_assets.kubernetes_settings import GatewaySettings, KubernetesSettings
from recsys_assets.platform.interface import (
    ANY,
    DESTINATION_RULE,
    INFERENCE_SERVICE,
    VIRTUAL_SERVICE,
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    PlatformError,
    Refused,
    Unavailable,
)
from recsys_assets.platform.kubernetes.installed import require_installed
from recsys_assets.platform.kubernetes.kinds import SPEC_ANNOTATION, VIRTUAL_SERVICES
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets_tests.cluster.identities import create_identities
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.cluster.webhook import refusing
from recsys_assets_tests.contracts.manifests import destination_rule, inference_service, virtual_service

pytestmark = pytest.mark.cluster
WAIT_SECONDS = 120.0


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with own_namespace(control_plane.api, f"recsys-{uuid.uuid4().hex[:8]}") as name:
        yield name


@pytest.fixture
def platform(control_plane: ControlPlane, namespace: str) -> KubernetesPlatform:
    return connected(namespace, control_plane.kubeconfig)


def connected(namespace: str, kubeconfig: Path, **more: Any) -> KubernetesPlatform:
    return KubernetesPlatform(KubernetesSettings(namespace=namespace, kubeconfig=str(kubeconfig), **more))


def route_path(namespace: str, name: str = "films") -> str:
    return VIRTUAL_SERVICES.path(namespace, name)


def test_of_creators_at_one_time_one_wins(platform: KubernetesPlatform, control_plane: ControlPlane) -> None:
    for _ in range(3):
        platform.delete(VIRTUAL_SERVICE, "films")
        outcomes: list[str] = []
        together = threading.Barrier(6)

        def create(number: int, told: list[str] = outcomes, start: threading.Barrier = together) -> None:
            writer = KubernetesPlatform(platform.settings)
            start.wait()
            try:
                writer.apply(virtual_service({f"films-v{number}": 10_000}), expected=None)
            except Conflict as lost:
                told.append(lost.reason[:14])
            else:
                told.append("won")

        creators = [threading.Thread(target=create, args=(number,)) for number in range(1, 7)]
        for each in creators:
            each.start()
        for each in creators:
            each.join()
        assert sorted(outcomes) == ["exists already"] * 5 + ["won"]


def test_an_edit_by_hand_is_seen_and_makes_the_writer_stale(
    platform: KubernetesPlatform, control_plane: ControlPlane, namespace: str
) -> None:
    seen = platform.apply(virtual_service({"films-v2": 500, "films-v1": 9_500}), expected=None)
    edit_a_weight(control_plane, namespace)
    found = platform.get(VIRTUAL_SERVICE, "films")
    assert found is not None
    assert [each["weight"] for each in found["spec"]["http"][0]["route"]] == [3_000, 7_000]
    with pytest.raises(Conflict, match="was expected"):
        platform.apply(seen, expected=seen["metadata"]["resourceVersion"])
    taken_back = platform.apply(seen, expected=found["metadata"]["resourceVersion"])
    assert taken_back["spec"] == seen["spec"]
    assert taken_back["metadata"]["generation"] == 3


def edit_a_weight(control_plane: ControlPlane, namespace: str) -> None:
    """As `kubectl edit` does: the whole object back, under its own name."""
    live = control_plane.api.request("GET", route_path(namespace))
    split = next(each for each in live["spec"]["http"] if each["name"] == "recsys-split")
    split["route"][0]["weight"], split["route"][1]["weight"] = 3_000, 7_000
    control_plane.api.request("PUT", f"{route_path(namespace)}?fieldManager=kubectl-edit", json.dumps(live))


def test_a_status_and_the_notes_of_others_make_no_writer_stale(
    platform: KubernetesPlatform, control_plane: ControlPlane, namespace: str
) -> None:
    seen = platform.apply(virtual_service({"films-v1": 10_000}), expected=None)["metadata"]["resourceVersion"]
    merge = "application/merge-patch+json"
    control_plane.api.request("PATCH", f"{route_path(namespace)}/status", '{"status":{"x":1}}', merge)
    noted = '{"metadata":{"annotations":{"team":"films"}}}'
    control_plane.api.request("PATCH", f"{route_path(namespace)}?fieldManager=kubectl", noted, merge)
    moved = platform.apply(virtual_service({"films-v2": 10_000}), expected=seen)
    assert moved["metadata"]["resourceVersion"] != seen
    live = control_plane.api.request("GET", route_path(namespace))
    assert live["metadata"]["annotations"]["team"] == "films"
    with pytest.raises(Conflict, match=seen):
        platform.apply(virtual_service({"films-v3": 10_000}), expected=seen)
    control_plane.api.request("PATCH", f"{route_path(namespace)}/status", '{"status":{"x":2}}', merge)
    assert platform.delete(VIRTUAL_SERVICE, "films", expected=moved["metadata"]["resourceVersion"])


def test_what_waits_for_its_finalizers_is_gone_already_and_takes_no_write(
    platform: KubernetesPlatform, control_plane: ControlPlane, namespace: str
) -> None:
    platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
    merge = "application/merge-patch+json"
    held = '{"metadata":{"finalizers":["recsys-assets.dev/test"]}}'
    control_plane.api.request("PATCH", route_path(namespace), held, merge)
    assert platform.delete(VIRTUAL_SERVICE, "films") is True
    assert platform.get(VIRTUAL_SERVICE, "films") is None
    assert platform.list(VIRTUAL_SERVICE) == []
    assert platform.delete(VIRTUAL_SERVICE, "films") is False
    for expected in (None, ANY):
        with pytest.raises(Conflict, match="is being deleted"):
            platform.apply(virtual_service({"films-v1": 10_000}), expected=expected)
    control_plane.api.request("PATCH", route_path(namespace), '{"metadata":{"finalizers":null}}', merge)
    assert platform.apply(virtual_service({"films-v1": 10_000}), expected=None)["metadata"]["generation"] == 1


def test_a_rule_goes_with_its_service_whoever_deletes_that(
    platform: KubernetesPlatform, control_plane: ControlPlane, namespace: str
) -> None:
    platform.apply(inference_service("films-v1"), expected=None)
    platform.apply(destination_rule("films-v1"), expected=None)
    control_plane.api.request(
        "DELETE", f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/films-v1"
    )
    poll("the rule being collected", lambda: platform.get(DESTINATION_RULE, "films-v1") is None, WAIT_SECONDS)


def test_a_refused_admission_is_told_in_the_webhooks_words(
    platform: KubernetesPlatform, control_plane: ControlPlane, namespace: str
) -> None:
    def refused() -> str | None:
        try:
            platform.apply(virtual_service({"films-v1": 10_000}), expected=None)
        except Refused as told:
            return str(told)
        # The API server takes a moment to hear of a new webhook.
        platform.delete(VIRTUAL_SERVICE, "films")
        return None

    with refusing(control_plane, namespace, plural="virtualservices", why="not on a Sunday") as server:
        poll("the webhook being asked", lambda: refused() is not None, WAIT_SECONDS)
        assert refused() == (
            "VirtualService/films: (admission): "
            'admission webhook "refuse.recsys-assets.dev" denied the request: not on a Sunday'
        )
        assert platform.get(VIRTUAL_SERVICE, "films") is None
        server.shutdown()
        server.server_close()
        with pytest.raises(Unavailable, match=r"VirtualService/films: .*failed calling webhook"):
            platform.apply(virtual_service({"films-v1": 10_000}), expected=None)


def test_what_the_schema_does_not_have_is_refused_with_its_place(platform: KubernetesPlatform) -> None:
    manifest = virtual_service({"films-v1": 10_000})
    manifest["spec"]["http"][0]["timeouts"] = "5s"
    with pytest.raises(Invalid, match=r"VirtualService/films: .*timeouts: field not declared in schema"):
        platform.apply(manifest, expected=None)
    manifest = virtual_service({"films-v1": 10_000})
    manifest["spec"]["http"][0]["retries"] = {"attempts": "many"}
    with pytest.raises(Invalid, match=r"VirtualService/films: .*attempts"):
        platform.apply(manifest, expected=None)
    assert platform.list(VIRTUAL_SERVICE) == []


def test_a_missing_kind_and_a_missing_namespace_are_named(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = connected("recsys-nowhere", control_plane.kubeconfig)
    with pytest.raises(Missing, match=r"VirtualService/films: the cluster has no namespace recsys-nowhere"):
        elsewhere.apply(virtual_service({"films-v1": 10_000}), expected=None)
    later = dataclasses.replace(VIRTUAL_SERVICES, version="v9")
    place = "recsys_assets.platform.kubernetes.platform.stored_as"
    monkeypatch.setattr(place, lambda _: {VIRTUAL_SERVICE: later})
    with pytest.raises(Missing, match=r"no CRD virtualservices\.networking\.istio\.io of version v9"):
        connected("default", control_plane.kubeconfig).get(VIRTUAL_SERVICE, "films")


def test_everything_that_is_not_installed_is_named_at_once(control_plane: ControlPlane, namespace: str) -> None:
    settings = KubernetesSettings(namespace=namespace, kubeconfig=str(control_plane.kubeconfig))
    with pytest.raises(Missing) as told:
        require_installed(settings.model_copy(update={"namespace": "recsys-nowhere"}))
    for named in ("namespace recsys-nowhere", "Service recsys-nowhere/recsys-gateway", "Gateway recsys-nowhere/"):
        assert named in str(told.value)
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "spec": {"selector": {"istio": "x"}}}
    for document in (service, gateway):
        control_plane.api.apply(document | {"metadata": {"name": "recsys-gateway", "namespace": namespace}})
    require_installed(settings)
    with pytest.raises(Missing, match=f"Gateway {namespace}/recsys-gateway"):
        require_installed(settings.model_copy(update={"route": "gateway-api"}))
    with pytest.raises(Missing, match=f"Service {namespace}/another"):
        require_installed(settings.model_copy(update={"gateway": GatewaySettings(service="another")}))


def test_a_server_that_is_away_or_silent_is_unavailable(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    for listens in (False, True):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            if listens:
                silent.listen()
            config = yaml.safe_load(control_plane.kubeconfig.read_text(encoding="utf-8"))
            config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{silent.getsockname()[1]}"
            kubeconfig = tmp_path / f"{listens}.kubeconfig"
            kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
            away = connected(namespace, kubeconfig, connect_timeout_seconds=0.5, request_timeout_seconds=0.5)
            with pytest.raises(Unavailable, match="VirtualService/films: the API server did not answer"):
                away.get(VIRTUAL_SERVICE, "films")
    with pytest.raises(Unavailable, match="no credentials"):
        connected(namespace, tmp_path / "nothing").get(VIRTUAL_SERVICE, "films")


def test_a_service_says_why_its_pods_do_not_come(
    platform: KubernetesPlatform, control_plane: ControlPlane, namespace: str
) -> None:
    applied = platform.apply(inference_service("films-v1"), expected=None)
    assert "KServe has made no Deployment" in platform.status(INFERENCE_SERVICE, "films-v1").reason
    live = control_plane.api.request(
        "GET", f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/films-v1"
    )
    digest = live["spec"]["predictor"]["annotations"][SPEC_ANNOTATION]
    control_plane.api.apply(deployment(namespace, digest))

    def reason() -> str:
        return platform.status(INFERENCE_SERVICE, "films-v1").reason

    poll("the pod being unscheduled", lambda: "is on no node: unscheduled (Unschedulable" in reason(), WAIT_SECONDS)
    status = platform.status(INFERENCE_SERVICE, "films-v1")
    assert (status.ready, status.generation, status.observed_generation) == (False, 1, 1)
    moved = platform.apply(inference_service("films-v1", args=["61"]), expected=applied["metadata"]["resourceVersion"])
    status = platform.status(INFERENCE_SERVICE, "films-v1")
    assert (status.ready, status.generation, status.observed_generation) == (False, 2, 1)
    assert "still of another spec" in status.reason
    assert moved["metadata"]["generation"] == 2


def deployment(namespace: str, digest: str) -> dict[str, Any]:
    """As KServe would make it."""
    labels = {"app": "isvc.films-v1-predictor", "serving.kserve.io/inferenceservice": "films-v1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "films-v1-predictor", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {SPEC_ANNOTATION: digest}},
                "spec": {"containers": [{"name": "kserve-container", "image": "films"}]},
            },
        },
    }


def _create(platform: KubernetesPlatform) -> object:
    return platform.apply(virtual_service({"films-v2": 10_000}), expected=None)


def _remove(platform: KubernetesPlatform) -> object:
    return platform.delete(VIRTUAL_SERVICE, "films")


def _deploy(platform: KubernetesPlatform) -> object:
    return platform.apply(inference_service("films-v2"), expected=None)


def _redeploy(platform: KubernetesPlatform) -> object:
    return platform.apply(inference_service("films-v1", args=["61"]), expected=ANY)


def _undeploy(platform: KubernetesPlatform) -> object:
    return platform.delete(INFERENCE_SERVICE, "films-v1")


def _rule(platform: KubernetesPlatform) -> object:
    return platform.apply(destination_rule("films-v1"), expected=ANY)


def _look(platform: KubernetesPlatform) -> object:
    return platform.get(VIRTUAL_SERVICE, "films")


GUARD_MUST_NOT = (_remove, _deploy, _redeploy, _undeploy, _rule)
NOBODY_MUST = (_look, _create, *GUARD_MUST_NOT)


def test_the_guard_moves_a_route_and_can_do_nothing_else(control_plane: ControlPlane, namespace: str) -> None:
    create_identities(control_plane.api, namespace)
    runs = connected(namespace, control_plane.kubeconfig_of_service_account(namespace, "dagster"))
    guard = connected(namespace, control_plane.kubeconfig_of_service_account(namespace, "guard"))
    with pytest.raises(Forbidden, match=r"VirtualService/films: .*cannot create resource"):
        _create(guard)
    runs.apply(inference_service("films-v1"), expected=None)
    seen = runs.apply(virtual_service({"films-v2": 500, "films-v1": 9_500}), expected=None)
    version = seen["metadata"]["resourceVersion"]
    taken = guard.apply(virtual_service({"films-v1": 10_000}), expected=version)
    assert taken["metadata"]["generation"] == 2
    assert not guard.status(INFERENCE_SERVICE, "films-v1").ready
    _forbidden(guard, GUARD_MUST_NOT)
    assert runs.delete(VIRTUAL_SERVICE, "films")
    assert runs.delete(INFERENCE_SERVICE, "films-v1")


@pytest.mark.parametrize("identity", ["model", "gateway", "collector"])
def test_what_serves_may_not_even_look(control_plane: ControlPlane, namespace: str, identity: str) -> None:
    create_identities(control_plane.api, namespace)
    connected(namespace, control_plane.kubeconfig).apply(inference_service("films-v1"), expected=None)
    _forbidden(connected(namespace, control_plane.kubeconfig_of_service_account(namespace, identity)), NOBODY_MUST)


def test_runs_stay_in_their_namespace(control_plane: ControlPlane, namespace: str) -> None:
    create_identities(control_plane.api, namespace)
    kubeconfig = control_plane.kubeconfig_of_service_account(namespace, "dagster")
    _forbidden(connected("default", kubeconfig), NOBODY_MUST)


def _forbidden(platform: KubernetesPlatform, deeds: tuple[Callable[[KubernetesPlatform], object], ...]) -> None:
    for deed in deeds:
        with pytest.raises(PlatformError) as told:
            deed(platform)
        assert type(told.value) is Forbidden, f"{deed.__name__}: {told.value}"
