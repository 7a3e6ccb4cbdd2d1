"""The API server alone: it answers, knows the definitions, and decides who may do what.

Here: what the other tests rely on. Not here: the product's client.
"""

from __future__ import annotations

import pytest

from cluster.api import Api, ApiError
from cluster.control_plane import ControlPlane

pytestmark = pytest.mark.cluster


def test_the_api_server_reports_the_pinned_version(control_plane: ControlPlane) -> None:
    assert control_plane.api.request("GET", "/version")["gitVersion"].startswith("v1.36.")


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("serving.kserve.io/v1beta1", "InferenceService"),
        ("networking.istio.io/v1", "VirtualService"),
        ("networking.istio.io/v1", "DestinationRule"),
        ("networking.istio.io/v1alpha3", "EnvoyFilter"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ],
)
def test_the_definitions_of_the_modules_are_served(control_plane: ControlPlane, group: str, kind: str) -> None:
    served = control_plane.api.request("GET", f"/apis/{group}")["resources"]
    assert kind in {each["kind"] for each in served}


def test_a_user_without_a_role_is_refused_with_the_name_of_the_user(control_plane: ControlPlane) -> None:
    nobody = control_plane.authority.issue("nobody", "nobody")
    api = Api(control_plane.server, control_plane.authority.certificate, nobody)
    with pytest.raises(ApiError, match='User "nobody" cannot list resource "secrets"') as refused:
        api.request("GET", "/api/v1/namespaces/default/secrets")
    assert refused.value.status == 403


def test_a_field_that_the_definition_does_not_know_is_refused(control_plane: ControlPlane) -> None:
    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "wrong", "namespace": "default"},
        "spec": {"hosts": "not a list"},
    }
    with pytest.raises(ApiError, match=r"spec\.hosts"):
        control_plane.api.apply(route)


def test_a_service_account_gets_a_kubeconfig_of_its_own(control_plane: ControlPlane) -> None:
    written = control_plane.kubeconfig_of_service_account("default", "default")
    assert "token:" in written.read_text(encoding="utf-8")
    assert written.stat().st_mode & 0o077 == 0
