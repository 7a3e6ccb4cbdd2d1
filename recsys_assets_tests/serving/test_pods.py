"""On a cluster the same manifest has a pod around its server: who it is, what it may, where its bundle comes from.

Here: plain data, against Kubernetes' own schema of a pod. Not here: an API server (cluster/test_image_manifest.py).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest

from recsys_assets.platform.validation import check_manifest
from recsys_assets.serving.manifests import inference_service
from recsys_assets.serving.pods import pod_of
from recsys_assets.serving.server import parse_options
from recsys_assets.settings import Settings
from recsys_assets_tests.serving.test_manifests import container, version

BUNDLE = "s3://models/bundles/12"
STORES = {
    "bundles": "s3://models/bundles",
    "online": "redis://valkey.recsys:6379/0",
    "online_password_env": "ONLINE_PASSWORD",
    "s3": {"endpoint_url": "http://s3.recsys:8333", "region": "eu-central-1"},
}


@pytest.fixture
def on_cluster(settings: Settings) -> Settings:
    return told(settings)


def told(settings: Settings, stores: dict[str, Any] = STORES, **kubernetes: Any) -> Settings:
    """The settings of an installation on Kubernetes."""
    said = settings.model_dump(exclude={"secrets"}) | {"platform": "kubernetes", "home": Path("/var/lib/recsys")}
    said |= {"stores": stores, "kubernetes": {"model_environment_secrets": ["recsys-s3"], **kubernetes}}
    return Settings.model_validate(said)


def manifest(settings: Settings, bundle: str = BUNDLE) -> dict[str, Any]:
    model, home = version(), PurePosixPath("/nowhere")
    pod = pod_of(model, settings, bundle=bundle)
    return inference_service(model, role="challenger", bundle_path=home, home=home, python="/host/python", pod=pod)


def predictor(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["predictor"]
    return found


def test_on_one_machine_there_is_no_pod(settings: Settings) -> None:
    assert pod_of(version(), settings, bundle=BUNDLE) is None


def test_our_rules_and_kubernetes_own_schema_of_a_pod_accept_it(on_cluster: Settings) -> None:
    made = manifest(on_cluster)
    assert check_manifest(made) == ("InferenceService", "recommender-v12")
    ours = {"minReplicas", "maxReplicas", "deploymentStrategy", "annotations"}
    spec = {key: value for key, value in predictor(made).items() if key not in ours}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    kubernetes_validate.validate(pod, "1.36", strict=True)


def test_a_pod_says_where_its_numbers_are_so_that_istios_agent_gives_them_out(on_cluster: Settings) -> None:
    """Injected without these annotations, the agent's port 15020 has the sidecar's numbers only, and the server's own
    port takes nobody without a certificate: `recsys_requests_total` would reach no Prometheus."""
    made = manifest(on_cluster)
    named = predictor(made)["annotations"]
    [port] = container(made)["ports"]
    assert named["prometheus.io/scrape"] == "true"
    assert named["prometheus.io/port"] == str(port["containerPort"])
    assert named["prometheus.io/path"] == "/metrics"


def test_the_server_reads_its_arguments_and_finds_bundle_keys_store_and_its_own_name(
    on_cluster: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLINE_PASSWORD", "x")
    only = container(manifest(on_cluster))
    assert (only["image"], only["command"][0]) == (on_cluster.kubernetes.image, "python")
    filled = [word.replace("$(PORT)", "8080").replace("$(POD_NAME)", "recommender-v12-abc") for word in only["args"]]
    options = parse_options(filled)
    assert (options.remote, str(options.cache), options.host) == (BUNDLE, "/var/run/recsys/bundle", "0.0.0.0")
    assert str(options.public_key) == "/etc/recsys/keys/bundle_signing.pub"
    assert str(options.attestation_key) == "/etc/recsys/keys/release_signing.pub"
    assert (options.online_store, options.online_password_env) == ("redis://valkey.recsys:6379/0", "ONLINE_PASSWORD")
    assert (options.replica, options.service, str(options.home)) == (
        "recommender-v12-abc",
        "recommender-v12",
        "/var/lib/recsys",
    )
    mounted = {mount["mountPath"] for mount in only["volumeMounts"]}
    assert mounted == {"/var/lib/recsys", "/var/run/recsys/bundle", "/tmp", "/etc/recsys/keys"}


def test_without_a_store_the_bundle_is_read_from_the_shared_volume(settings: Settings) -> None:
    only = container(manifest(told(settings, stores={}), bundle="/var/lib/recsys/bundles/12"))
    options = parse_options([word.replace("$(PORT)", "1") for word in only["args"]])
    assert (options.remote, str(options.bundle)) == (None, "/var/lib/recsys/bundles/12")
    assert {entry["name"] for entry in only["env"]}.isdisjoint({"AWS_ENDPOINT_URL", "AWS_REGION"})


def test_it_is_nobody_to_the_cluster_and_may_write_nothing_but_its_volumes(on_cluster: Settings) -> None:
    made = predictor(manifest(on_cluster))
    assert (made["serviceAccountName"], made["automountServiceAccountToken"]) == ("recsys-model", False)
    assert made["securityContext"]["runAsUser"] == 10_001
    only = container(manifest(on_cluster))
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert next(m for m in only["volumeMounts"] if m["name"] == "public-keys")["readOnly"] is True


def test_no_secret_stands_in_it_only_the_names_of_secrets(on_cluster: Settings) -> None:
    only = container(manifest(on_cluster))
    assert only["envFrom"] == [{"secretRef": {"name": "recsys-s3"}}]
    plain = {entry["name"]: entry["value"] for entry in only["env"] if "value" in entry}
    assert plain["AWS_ENDPOINT_URL"] == "http://s3.recsys:8333"
    assert not [name for name in plain if "KEY" in name or "PASSWORD" in name or "TOKEN" in name]


def test_a_slow_start_is_given_its_time_before_any_other_probe_judges(on_cluster: Settings) -> None:
    startup = container(manifest(on_cluster))["startupProbe"]
    allowed = startup["periodSeconds"] * startup["failureThreshold"]
    assert allowed >= on_cluster.serving.ready_timeout_seconds


def test_sizes_are_the_champions(settings: Settings) -> None:
    """What proves itself as a canary serves everybody later, in the very same pods."""
    sizes = {"stable": {"cpu": "2", "memory": "1Gi", "cpu_limit": None}, "canary": {"cpu": "100m"}}
    resources = container(manifest(told(settings, resources_by_role=sizes)))["resources"]
    assert resources == {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}


def scaled(settings: Settings, **autoscaling: Any) -> tuple[str, dict[str, Any]]:
    made = manifest(told(settings, autoscaling=autoscaling))
    return made["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"], predictor(made)


def test_without_a_metric_kserve_keeps_a_fixed_number_of_replicas(settings: Settings) -> None:
    class_, made = scaled(settings, min_replicas=2, max_replicas=6)
    assert (class_, made["minReplicas"], made["maxReplicas"]) == ("none", 2, 2)


def test_by_cpu_kserve_makes_an_autoscaler_for_this_version_alone(settings: Settings) -> None:
    class_, made = scaled(settings, min_replicas=1, max_replicas=6, metric="cpu", target=70)
    assert (class_, made["scaleMetric"], made["scaleTarget"]) == ("hpa", "cpu", 70)
    assert (made["minReplicas"], made["maxReplicas"]) == (1, 6)


def test_by_requests_each_version_is_sized_by_its_own_share_of_the_traffic(settings: Settings) -> None:
    url = "http://prometheus.monitoring:9090"
    class_, made = scaled(settings, max_replicas=9, metric="requests", target=50, prometheus_url=url)
    (metric,) = made["autoScaling"]["metrics"]
    assert class_ == "keda"
    assert "scaleMetric" not in made
    assert metric["external"]["target"] == {"type": "Value", "value": "50"}
    assert metric["external"]["metric"]["serverAddress"] == url
    asked = metric["external"]["metric"]["query"]
    assert 'model="recommender",model_version="12"' in asked
    assert asked.startswith("sum(rate(recsys_requests_total{")
