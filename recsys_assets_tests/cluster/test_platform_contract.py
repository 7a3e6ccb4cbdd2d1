"""The contract of a Platform, unchanged, asked of the Kubernetes platform over a real API server.

Here: the fixtures, for both ways to store a route. Not here: the claims (`contracts/platform_contract.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from cluster.control_plane import ControlPlane
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import Platform
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.contracts.platform_contract import PlatformContract

pytestmark = pytest.mark.cluster


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with own_namespace(control_plane.api, f"recsys-{uuid.uuid4().hex[:8]}") as name:
        yield name


class TestKubernetesPlatformWithIstio(PlatformContract):
    @pytest.fixture
    def platform(self, control_plane: ControlPlane, namespace: str) -> Platform:
        return KubernetesPlatform(KubernetesSettings(namespace=namespace, kubeconfig=str(control_plane.kubeconfig)))


class TestKubernetesPlatformWithTheGatewayApi(PlatformContract):
    @pytest.fixture
    def platform(self, control_plane: ControlPlane, namespace: str) -> Platform:
        return KubernetesPlatform(
            KubernetesSettings(namespace=namespace, kubeconfig=str(control_plane.kubeconfig), route="gateway-api")
        )
