"""The real parts that the tests of this folder share: an API server alone, and a whole cluster.

Here: session fixtures that fail, never skip, where a prerequisite is missing. Not here: how the parts are run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.addons import install_coredns, install_istio, install_kserve
from cluster.charts import install_definitions
from cluster.cluster import Cluster
from cluster.control_plane import ControlPlane
from cluster.errors import MissingError
from recsys_assets_tests.cluster.house import around, dagster, installed, platform_image  # noqa: F401 - fixtures

HERE = Path(__file__).parent
VALUES = HERE.parents[1] / "helm_values"
TIMEOUT_SECONDS = 1800  # the first test waits for whatever the cluster takes to come up


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", help="the file that gets what the story of the cluster measured")
    parser.addoption("--pictures", help="the folder that gets pictures of the installed Dagster's UI")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for pods and controllers gets more time than what runs in one process."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver and the controllers on loopback, with the definitions of KServe, Istio and Gateway API."""
    try:
        with ControlPlane(tmp_path_factory.mktemp("control-plane"), controllers=True) as plane:
            install_definitions(plane.api, "kserve", "istio", "gateway-api")
            yield plane
    except MissingError as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node with real containers and CoreDNS, and nothing else on it."""
    try:
        with Cluster(tmp_path_factory.mktemp("cluster")) as running:
            install_coredns(running)
            yield running
    except MissingError as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def cluster(node: Cluster) -> Cluster:
    """The node with KServe and istiod, installed with the values that this repository gives to their charts."""
    install_istio(node, [VALUES / "istiod.yaml", VALUES / "istiod-plain-envoy.yaml"])
    install_kserve(node, [VALUES / "kserve.yaml"])
    return node
