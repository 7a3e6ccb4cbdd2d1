"""What our chart makes of its values: valid for Kubernetes 1.36, hardened, and of the shape that the code expects.

Here: the kept renderings, read with Python alone. Not here: rights (test_roles.py), who may speak to whom
(test_network.py), and that helm still renders the same (cluster/test_charts.py).
"""

from __future__ import annotations

import kubernetes_validate
import pytest

from recsys_assets.kubernetes_settings import KubernetesSettings, ServiceAccounts
from recsys_assets.platform.kubernetes.sticky import envoy_filters
from recsys_assets.platform.local.envoy_listener import ACCESS_LOG_FIELDS, GatewayPlace, listener
from recsys_assets_tests.charts.house import CASE_FILES, CHART, Document, containers, load, of_kind, rendered

CORE_GROUPS = {"apps", "batch", "policy", "autoscaling", "networking.k8s.io", "rbac.authorization.k8s.io"}
SERVERS = {"recsys-gateway", "recsys-guard", "recsys-collector", "recsys-notifier", "recsys-mlflow"}


def is_core(document: Document) -> bool:
    group, slash, _ = document["apiVersion"].partition("/")
    return not slash or group in CORE_GROUPS


@pytest.mark.parametrize("case", CASE_FILES)
def test_every_object_of_kubernetes_own_kinds_is_valid_for_1_36(case: str) -> None:
    checked = [each for each in rendered(case) if is_core(each)]
    assert {"Deployment", "Role", "NetworkPolicy", "Service"} <= {each["kind"] for each in checked}
    for each in checked:
        kubernetes_validate.validate(each, "1.36", strict=True)


@pytest.mark.parametrize("case", CASE_FILES)
def test_nothing_of_ours_is_for_the_whole_cluster(case: str) -> None:
    documents = rendered(case)
    assert {each["metadata"]["namespace"] for each in documents} == {"recsys"}
    assert not {"ClusterRole", "ClusterRoleBinding", "Namespace", "PersistentVolume"} & {d["kind"] for d in documents}


@pytest.mark.parametrize("case", CASE_FILES)
def test_no_secret_is_made_and_none_is_written_down(case: str) -> None:
    documents = rendered(case)
    assert not of_kind(documents, "Secret")
    text = (CHART.parents[1] / "recsys_assets_tests/charts/rendered" / f"{case}.yaml").read_text(encoding="utf-8")
    assert "PRIVATE KEY" not in text
    assert "postgresql://" not in text


@pytest.mark.parametrize("case", CASE_FILES)
def test_every_pod_fits_the_restricted_level_of_pod_security(case: str) -> None:
    deployments = of_kind(rendered(case), "Deployment")
    assert set(deployments) == SERVERS
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in containers(deployment):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("case", CASE_FILES)
def test_every_container_says_what_it_needs_and_how_much_memory_it_may_take(case: str) -> None:
    for name, deployment in of_kind(rendered(case), "Deployment").items():
        for container in containers(deployment):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("case", CASE_FILES)
def test_a_service_of_ours_adds_no_variables_to_a_pod_of_ours(case: str) -> None:
    """A Service `recsys-x` would become RECSYS_X_PORT, which the settings would have to tell from a misspelt one."""
    for deployment in of_kind(rendered(case), "Deployment").values():
        assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_only_the_guard_is_given_a_token_of_the_api() -> None:
    mounted = {
        name
        for name, deployment in of_kind(rendered("mesh"), "Deployment").items()
        if deployment["spec"]["template"]["spec"]["automountServiceAccountToken"]
    }
    assert mounted == {"recsys-guard"}
    for account in of_kind(rendered("mesh"), "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


def test_the_accounts_are_those_that_the_settings_name() -> None:
    made = set(of_kind(rendered("mesh"), "ServiceAccount"))
    assert set(ServiceAccounts().model_dump().values()) <= made
    assert made == {f"recsys-{name}" for name in load(CHART / "values.yaml")["identities"]}


@pytest.mark.parametrize("name", ["recsys-guard", "recsys-collector", "recsys-notifier"])
def test_whoever_holds_a_lock_or_speaks_once_is_never_there_twice(name: str) -> None:
    spec = of_kind(rendered("mesh"), "Deployment")[name]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_volume_is_shared_and_outlives_the_chart() -> None:
    (claim,) = of_kind(rendered("mesh"), "PersistentVolumeClaim").values()
    assert claim["metadata"]["name"] == KubernetesSettings().home_claim
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(rendered("plain"), "PersistentVolumeClaim"), "a claim that exists is used, not made again"


def test_the_public_keys_stand_where_model_servers_look_for_them() -> None:
    keys = of_kind(rendered("mesh"), "ConfigMap")[KubernetesSettings().public_keys_config_map]
    assert set(keys["data"]) == {"bundle_signing.pub", "release_signing.pub"}
    assert all(pem.startswith("-----BEGIN PUBLIC KEY-----\n") for pem in keys["data"].values())


@pytest.mark.parametrize("case", CASE_FILES)
def test_the_sticky_filters_are_exactly_the_codes(case: str) -> None:
    shown = of_kind(rendered(case), "EnvoyFilter")
    for wanted in envoy_filters(KubernetesSettings()):
        found = shown[wanted["metadata"]["name"]]
        assert found["apiVersion"] == wanted["apiVersion"]
        assert found["spec"] == wanted["spec"]


def test_the_door_is_the_local_gateways_but_for_what_istio_does_itself(tmp_path: object) -> None:
    (place,) = (GatewayPlace("127.0.0.1", 1, 2, 3, CHART, CHART / "access.jsonl"),)
    local = listener(place)["filter_chains"][0]["filters"][0]["typed_config"]
    manager, buffered = of_kind(rendered("mesh"), "EnvoyFilter")["recsys-gateway-door"]["spec"]["configPatches"]
    ours = manager["patch"]["value"]["typed_config"]
    assert {key: value for key, value in ours.items() if key != "access_log"} == {
        key: local[key] for key in ours if key != "access_log"
    }
    assert {"codec_type", "stat_prefix", "rds", "http_filters"} == local.keys() - ours.keys()
    (_, local_buffer, _) = local["http_filters"]
    assert buffered["patch"]["value"] == local_buffer


def test_the_access_log_has_the_local_fields() -> None:
    manager, _ = of_kind(rendered("mesh"), "EnvoyFilter")["recsys-gateway-door"]["spec"]["configPatches"]
    (log,) = manager["patch"]["value"]["typed_config"]["access_log"]
    # What only the local gateway's endpoints know; the reader takes the service out of the cluster's name.
    fields = {name: what for name, what in ACCESS_LOG_FIELDS.items() if name != "service"}
    assert log["typed_config"]["log_format"]["json_format"] == fields


@pytest.mark.parametrize("case", CASE_FILES)
def test_each_gateway_pod_logs_into_a_folder_of_its_own_on_the_shared_volume(case: str) -> None:
    gateway = of_kind(rendered(case), "Deployment")["recsys-gateway"]
    make_folder, *_ = containers(gateway)
    script = make_folder["command"][-1]
    assert 'folder="/var/lib/recsys/logs/gateway/$POD_NAME"' in script
    assert 'ln -sfn "$folder" /var/log/recsys-gateway/current' in script
    mounted = {
        container["name"]: {mount["mountPath"] for mount in container["volumeMounts"]}
        for container in containers(gateway)
    }
    assert {"/var/lib/recsys", "/var/log/recsys-gateway"} <= mounted["istio-proxy"] & mounted["log-keeper"]


def test_the_bootstrap_of_a_plain_envoy_waits_for_istiod_and_opens_its_admin_to_nobody_else() -> None:
    import yaml

    text = of_kind(rendered("plain"), "ConfigMap")["recsys-gateway-bootstrap"]["data"]["bootstrap.yaml"]
    bootstrap = yaml.safe_load(text)
    assert bootstrap["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    for kind in ("lds_config", "cds_config"):
        assert bootstrap["dynamic_resources"][kind]["initial_fetch_timeout"] == "0s"
    own = [
        (one["address"]["socket_address"]["port_value"], route["match"], route["route"]["prefix_rewrite"])
        for one in bootstrap["static_resources"]["listeners"]
        for chain in one["filter_chains"]
        for host in chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        for route in host["routes"]
    ]
    assert own == [
        (15021, {"path": "/healthz/ready"}, "/ready"),
        (15090, {"path": "/stats/prometheus"}, "/stats/prometheus?usedonly"),
    ]
    labels = of_kind(rendered("plain"), "Deployment")["recsys-gateway"]["spec"]["template"]["metadata"]["labels"]
    assert bootstrap["node"]["metadata"]["LABELS"].items() <= labels.items()
    assert KubernetesSettings().gateway.labels.items() <= bootstrap["node"]["metadata"]["LABELS"].items()


def test_the_gateway_is_the_one_that_the_settings_name() -> None:
    asked = KubernetesSettings().gateway
    for case in ("mesh", "gateway_api"):
        documents = rendered(case)
        gateway, service = of_kind(documents, "Gateway")[asked.name], of_kind(documents, "Service")[asked.service]
        (port,) = service["spec"]["ports"]
        assert port["port"] == asked.port
        if case == "mesh":
            assert gateway["spec"]["selector"] == asked.labels
            assert gateway["spec"]["servers"][0]["port"]["number"] == asked.port
            assert gateway["spec"]["servers"][0]["hosts"] == list(asked.hosts)
        else:
            (address,) = gateway["spec"]["addresses"]
            assert address["value"] == f"{asked.service}.recsys.svc.cluster.local"


def test_feedback_goes_to_the_collector_by_the_name_that_the_log_leaves_out() -> None:
    istio = of_kind(rendered("mesh"), "VirtualService")["recsys-feedback"]["spec"]["http"]
    http = of_kind(rendered("gateway_api"), "HTTPRoute")["recsys-feedback"]["spec"]["rules"]
    for (rule,) in (istio, http):
        assert rule["name"] == "feedback"
