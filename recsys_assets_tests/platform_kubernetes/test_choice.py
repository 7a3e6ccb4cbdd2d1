"""Which platform the settings choose, and what is refused elsewhere.

Here: settings and doors. Not here: what the platforms do.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from recsys_assets.kubernetes_settings import Autoscaling, GatewaySettings, KubernetesSettings, Resources
from recsys_assets.platform.build import has_platform, open_platform
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.processes import start_everything, stop_everything
from recsys_assets.settings import ConfigError, Settings


def on_kubernetes(settings: Settings) -> Settings:
    return settings.model_copy(update={"platform": "kubernetes"})


def test_the_settings_choose_the_platform(settings: Settings) -> None:
    assert isinstance(open_platform(settings), ManifestStore)
    assert not has_platform(settings)
    chosen = open_platform(on_kubernetes(settings))
    assert isinstance(chosen, KubernetesPlatform)
    assert has_platform(on_kubernetes(settings))


def test_a_process_has_one_connection(settings: Settings) -> None:
    assert open_platform(on_kubernetes(settings)) is open_platform(on_kubernetes(settings))


def test_up_and_down_are_for_this_machine(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="its chart starts and stops everything there"):
        list(start_everything(on_kubernetes(settings)))
    with pytest.raises(ConfigError, match="its chart starts and stops everything there"):
        stop_everything(on_kubernetes(settings))


def test_users_find_the_gateway_of_their_platform(settings: Settings) -> None:
    assert settings.gateway_url == f"http://127.0.0.1:{settings.serving.gateway_port}"
    assert on_kubernetes(settings).gateway_url == "http://recsys-gateway.recsys.svc.cluster.local:80"
    elsewhere = KubernetesSettings(gateway=GatewaySettings(namespace="doors", url="https://tv.example"))
    assert elsewhere.gateway_url == "https://tv.example"
    assert elsewhere.gateway_namespace == "doors"


def test_a_role_without_sizes_of_its_own_has_the_usual_ones() -> None:
    settings = KubernetesSettings(resources_by_role={"canary": Resources(cpu="250m")})
    assert (settings.sizes("canary").cpu, settings.sizes("stable").cpu) == ("250m", "500m")


@pytest.mark.parametrize(("broken", "told"), [
    ({"namespace": "Recsys"}, "namespace"),
    ({"route": "ingress"}, "route"),
    ({"gateway": {"hosts": ["a", "a"]}}, "names a host twice"),
    ({"gateway": {"hosts": []}}, "hosts"),
    ({"autoscaling": {"min_replicas": 3, "max_replicas": 2}}, "lies below"),
    ({"autoscaling": {"metric": "requests"}}, "needs prometheus_url"),
    ({"resources": {"memory": "much"}}, "memory"),
    ({"image": "an image"}, "image"),
    ({"nodes": 3}, "Extra inputs"),
])  # fmt: skip
def test_a_broken_section_is_refused(broken: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        KubernetesSettings.model_validate(broken)


def test_autoscaling_by_requests_names_where_they_are_counted() -> None:
    assert Autoscaling(metric="requests", prometheus_url="http://prometheus:9090", max_replicas=4).target == 60
