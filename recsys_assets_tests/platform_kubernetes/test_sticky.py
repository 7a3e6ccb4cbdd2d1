"""The filters of the gateway, and the chart's copy of them.

Here: documents. Not here: that they work in a real Envoy (`cluster/test_sticky.py`).
"""

from __future__ import annotations

from pathlib import Path

import yaml

import recsys_assets
from recsys_assets.kubernetes_settings import GatewaySettings, KubernetesSettings
from recsys_assets.platform.kubernetes.sticky import envoy_filters, program
from recsys_assets.platform.local.bucket import INTERNAL_HEADERS, LUA, filled

CHART = Path(recsys_assets.__file__).parents[1] / "charts" / "recsys-assets"


def test_the_chart_installs_exactly_these_filters() -> None:
    wanted = {each["metadata"]["name"]: each["spec"] for each in envoy_filters(KubernetesSettings())}
    assert yaml.safe_load((CHART / "files" / "sticky.yaml").read_text(encoding="utf-8")) == wanted


def test_the_bucket_is_computed_by_the_local_gateways_routine() -> None:
    routine = filled(LUA.partition("function envoy_on_request")[0], {"%(buckets)d": "10000"})
    assert program().startswith(routine)
    assert "%(" not in program()


def test_what_clients_set_in_our_name_is_dropped() -> None:
    for header in INTERNAL_HEADERS:
        assert f'headers:remove("{header}")' in program()


def test_the_filters_are_of_the_gateways_pods_alone() -> None:
    gateway = GatewaySettings(namespace="doors", labels={"app": "front"})
    for each in envoy_filters(KubernetesSettings(gateway=gateway)):
        assert each["metadata"]["namespace"] == "doors"
        assert each["spec"]["workloadSelector"]["labels"] == {"app": "front"}
