"""The Roles of our chart, tried: each identity asks a real API server with its own token, and is refused the rest.

Here: requests and the server's answers. Not here: what the rights should be (charts/test_roles.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from cluster.control_plane import ControlPlane
from recsys_assets_tests.charts.house import Document, of_kind, rendered

pytestmark = pytest.mark.cluster
HOUSE = "chart-rights"
ISTIO = f"/apis/networking.istio.io/v1/namespaces/{HOUSE}/virtualservices"
FILTERS = f"/apis/networking.istio.io/v1alpha3/namespaces/{HOUSE}/envoyfilters"
MODELS = f"/apis/serving.kserve.io/v1beta1/namespaces/{HOUSE}/inferenceservices"
CORE = f"/api/v1/namespaces/{HOUSE}"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{HOUSE}/roles"
JOBS = f"/apis/batch/v1/namespaces/{HOUSE}/jobs"
MERGE = {"content-type": "application/merge-patch+json"}


def moved(document: Document) -> Document:
    """The same in the house of these tests."""
    here: Document = document | {"metadata": document["metadata"] | {"namespace": HOUSE}}
    if "subjects" in here:
        here["subjects"] = [subject | {"namespace": HOUSE} for subject in here["subjects"]]
    return here


def route(name: str) -> Document:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": HOUSE},
        "spec": {"hosts": [name], "http": [{"route": [{"destination": {"host": f"{name}-v1"}}]}]},
    }


@pytest.fixture(scope="module")
def house(control_plane: ControlPlane) -> ControlPlane:
    """The chart's accounts and roles, and two routes: the guard's and another."""
    control_plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOUSE}})
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        for document in of_kind(rendered("plain"), kind).values():
            control_plane.api.apply(moved(document))
    for name in ("films", "others"):
        control_plane.api.apply(route(name))
    return control_plane


class Asks:
    """An identity's own requests."""

    def __init__(self, house: ControlPlane, identity: str) -> None:
        kubeconfig = house.kubeconfig_of_service_account(HOUSE, f"recsys-{identity}")
        told: dict[str, Any] = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        trusted = ssl.create_default_context(cafile=str(house.authority_file))
        headers = {"authorization": f"Bearer {told['users'][0]['user']['token']}"}
        self.client = httpx.Client(
            base_url=house.server, verify=trusted, headers=headers, timeout=30.0, trust_env=False
        )

    def status(self, method: str, path: str, **more: Any) -> int:
        return self.client.request(method, path, **more).status_code


@pytest.fixture
def asks(house: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Asks]:
    asking = Asks(house, request.param)
    yield asking
    asking.client.close()


@pytest.mark.parametrize("asks", ["guard"], indirect=True)
def test_the_guard_reads_and_changes_its_route(asks: Asks) -> None:
    assert asks.status("GET", ISTIO) == 200
    assert asks.status("GET", f"{ISTIO}/films") == 200
    change = {"metadata": {"annotations": {"seen": "yes"}}}
    assert asks.status("PATCH", f"{ISTIO}/films", json=change, headers=MERGE) == 200
    assert asks.status("GET", MODELS) == 200


@pytest.mark.parametrize("asks", ["guard"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"{ISTIO}/others", {"metadata": {"annotations": {"a": "b"}}}),
        ("PUT", f"{ISTIO}/films", route("films")),
        ("POST", ISTIO, route("third")),
        ("DELETE", f"{ISTIO}/films", None),
        ("DELETE", ISTIO, None),
        ("DELETE", f"{MODELS}/films-v1", None),
        ("PATCH", f"{MODELS}/films-v1", {"spec": {}}),
        ("POST", MODELS, {}),
        ("GET", f"{CORE}/secrets", None),
        ("GET", f"{CORE}/configmaps", None),
        ("DELETE", f"{CORE}/pods/films-v1", None),
        ("POST", f"{CORE}/pods/films-v1/exec", None),
        ("POST", JOBS, {}),
        ("PATCH", f"{FILTERS}/recsys-sticky-split", {"spec": {}}),
        ("POST", RBAC, {}),
        ("GET", "/api/v1/nodes", None),
        ("GET", "/apis/networking.istio.io/v1/namespaces/default/virtualservices", None),
    ],
)
def test_the_guard_is_refused_everything_else(asks: Asks, method: str, path: str, body: Document | None) -> None:
    headers = MERGE if method == "PATCH" else {}
    assert asks.status(method, path, json=body, headers=headers) == 403


@pytest.mark.parametrize("asks", ["dagster"], indirect=True)
def test_dagster_makes_and_removes_a_route_and_sees_how_far_things_are(asks: Asks) -> None:
    assert asks.status("POST", ISTIO, json=route("mine")) == 201
    assert asks.status("DELETE", f"{ISTIO}/mine") == 200
    for path in (MODELS, f"{CORE}/pods", f"{CORE}/services", JOBS, f"{CORE}/events", f"/api/v1/namespaces/{HOUSE}"):
        assert asks.status("GET", path) == 200, path


@pytest.mark.parametrize("asks", ["dagster"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{CORE}/secrets", None),
        ("GET", f"{CORE}/configmaps", None),
        ("POST", f"{CORE}/pods", {}),
        ("PATCH", f"{CORE}/pods/any", {"metadata": {}}),
        ("POST", f"{CORE}/pods/any/exec", None),
        ("POST", f"{CORE}/services", {}),
        ("PATCH", f"{FILTERS}/recsys-sticky-split", {"spec": {}}),
        ("POST", RBAC, {}),
        ("POST", f"{CORE}/serviceaccounts/recsys-guard/token", {}),
        ("GET", "/api/v1/nodes", None),
        ("GET", "/api/v1/namespaces", None),
        ("GET", "/api/v1/namespaces/default", None),
        ("GET", "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices", None),
    ],
)
def test_dagster_is_refused_what_a_release_does_not_need(
    asks: Asks, method: str, path: str, body: Document | None
) -> None:
    headers = MERGE if method == "PATCH" else {}
    assert asks.status(method, path, json=body, headers=headers) == 403


@pytest.mark.parametrize("asks", ["model", "gateway", "collector", "notifier", "mlflow"], indirect=True)
def test_whoever_serves_is_refused_everything(asks: Asks) -> None:
    for path in (ISTIO, MODELS, f"{CORE}/pods", f"{CORE}/services", f"{CORE}/secrets", f"{CORE}/configmaps", JOBS):
        assert asks.status("GET", path) == 403, path
    assert asks.status("DELETE", f"{ISTIO}/films") == 403
