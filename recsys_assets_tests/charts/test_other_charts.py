"""The values of other people's charts, judged without those charts: pinned, and of the shape that the platform needs.

Here: facts about our files. Not here: that each key exists in its chart (cluster/test_other_charts.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.versions import KSERVE, pinned_version
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.settings import load_settings
from recsys_assets_tests.charts.house import REPOSITORY, VALUES, case_values, load, merged, pinned, values_files

ISTIO_FILES = ("istio-base.yaml", "istio-cni.yaml", "istiod.yaml", "istiod-plain-envoy.yaml")
KIND = REPOSITORY / "kind"
RUNS_US = ("dagster.yaml", "dagster-user-deployments.yaml")


def locked(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (REPOSITORY / "requirements" / "runtime.lock").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", values_files(), ids=lambda path: path.name)
def test_every_file_names_its_chart_and_a_whole_version(path: Any) -> None:
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", pinned(path).version)


def test_the_dagster_charts_are_of_the_version_that_is_locked() -> None:
    assert {pinned(VALUES / name).version for name in RUNS_US} == {locked("dagster")}


def test_the_kserve_charts_are_of_the_version_that_the_cluster_is_built_from() -> None:
    versions = {pinned(VALUES / name).version for name in ("kserve.yaml", "kserve-crd.yaml")}
    assert versions == {pinned_version("kserve", KSERVE)}


def test_the_istio_charts_are_of_one_version_and_the_plain_gateway_says_the_same() -> None:
    chart = load(REPOSITORY / "charts" / "recsys-assets" / "values.yaml")
    assert {pinned(VALUES / name).version for name in ISTIO_FILES} == {chart["gateway"]["istiod"]["version"]}


def test_our_own_chart_is_pinned_to_itself() -> None:
    ours = load(REPOSITORY / "charts" / "recsys-assets" / "Chart.yaml")
    assert pinned(VALUES / "recsys-assets.yaml").version == ours["version"]


def test_no_chart_below_dagsters_is_installed_and_postgres_is_somebodys_service() -> None:
    values = load(VALUES / "dagster.yaml")
    for subchart in ("postgresql", "rabbitmq", "redis", "flower"):
        assert values[subchart]["enabled"] is False
    assert values["redis"]["internal"] is False
    assert values["postgresql"]["postgresqlHost"]
    assert values["postgresql"]["postgresqlPassword"] == ""
    # The driver that the image has; without a name SQLAlchemy 2.1 takes another.
    assert values["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    assert values["generatePostgresqlPasswordSecret"] is False
    assert "bitnami" not in (VALUES / "dagster.yaml").read_text(encoding="utf-8")


def test_runs_are_launched_as_jobs_with_their_own_resources_and_identity() -> None:
    launcher = load(VALUES / "dagster.yaml")["runLauncher"]
    assert launcher["type"] == "K8sRunLauncher"
    config = launcher["config"]["k8sRunLauncher"]
    assert config["resources"]["requests"].keys() == {"cpu", "memory"}
    assert config["runK8sConfig"]["podSpecConfig"]["enable_service_links"] is False
    assert config["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_run_whose_pod_is_gone_is_noticed_and_nothing_is_repeated() -> None:
    daemon = load(VALUES / "dagster.yaml")["dagsterDaemon"]
    assert daemon["runMonitoring"]["enabled"] is True
    assert daemon["runRetries"]["maxRetries"] == 0
    assert daemon["livenessProbe"]["exec"]["command"] == ["dagster-daemon", "liveness-check"]


def test_a_persons_word_goes_past_the_queue_as_on_one_machine() -> None:
    local = load(REPOSITORY / "dagster.yaml")
    ours = load(VALUES / "dagster.yaml")
    coordinator = ours["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    assert all(coordinator[key] == local["run_coordinator"][key] for key in ("module", "class"))
    (limit,) = local["concurrency"]["runs"]["tag_concurrency_limits"]
    (same,) = ours["concurrency"]["runs"]["tagConcurrencyLimits"]
    assert same == limit


def test_every_dagster_pod_is_nobody_special_with_a_read_only_root() -> None:
    system = load(VALUES / "dagster.yaml")
    (code,) = load(VALUES / "dagster-user-deployments.yaml")["deployments"]
    for part in (system["dagsterWebserver"], system["dagsterDaemon"], code):
        assert part["podSecurityContext"]["runAsUser"] == 10001
        assert part["podSecurityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert part["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert part["labels"] == {"recsys-assets.dev/identity": "dagster"}
        assert {"requests", "limits"} <= part["resources"].keys()


def test_dagster_has_the_rights_of_our_chart_and_not_those_of_its_own() -> None:
    for name in RUNS_US:
        values = load(VALUES / name)
        assert values["global"]["serviceAccountName"] == KubernetesSettings().service_accounts.dagster
        assert values["rbacEnabled"] is False
        assert values["serviceAccount"]["create"] is False


def test_the_code_location_has_the_shared_volume_the_settings_and_alone_the_private_keys() -> None:
    (code,) = load(VALUES / "dagster-user-deployments.yaml")["deployments"]
    assert code["codeServerArgs"] == ["-m", "recsys_assets.definitions"]
    mounts = {mount["name"]: mount["mountPath"] for mount in code["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in code["volumes"]}
    assert mounts["home"] == "/var/lib/recsys"
    assert volumes["home"]["persistentVolumeClaim"]["claimName"] == KubernetesSettings().home_claim
    assert volumes["settings"]["configMap"]["name"] == "recsys-settings"
    assert volumes["signing-keys"]["secret"]["secretName"] == "recsys-signing-keys"
    for name in ("dagster.yaml", "recsys-assets.yaml"):
        assert "signing-keys" not in (VALUES / name).read_text(encoding="utf-8")


def test_the_settings_name_the_instance_where_the_charts_mount_it() -> None:
    values = load(VALUES / "dagster-user-deployments.yaml")
    settings = load(VALUES / "recsys-assets.yaml")["settings"]
    assert values["includeInstance"] is True
    assert settings["stores"]["dagster_instance"] == f"{values['dagsterHome']}/dagster.yaml"
    assert values["global"]["dagsterHome"] == load(VALUES / "dagster.yaml")["global"]["dagsterHome"]


def test_the_workspace_names_the_service_of_the_code_location() -> None:
    (server,) = load(VALUES / "dagster.yaml")["dagsterWebserver"]["workspace"]["servers"]
    (code,) = load(VALUES / "dagster-user-deployments.yaml")["deployments"]
    assert (server["host"], server["port"]) == (code["name"], code["port"])


def test_kserve_leaves_the_route_to_the_release() -> None:
    values = load(VALUES / "kserve.yaml")["kserve"]
    assert values["controller"]["deploymentMode"] == "Standard"
    gateway = values["controller"]["gateway"]
    assert gateway["disableIngressCreation"] is True
    assert gateway["disableIstioVirtualHost"] is True
    assert values["security"]["autoMountServiceAccountToken"] is False


def test_the_settings_of_the_kind_runbook_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not run here, so judged as far as it can be: versions, schema and settings."""
    for secret in ("LEDGER_URL", "FEAST_REGISTRY_URL"):
        monkeypatch.setenv(secret, "postgresql://u:p@db:5432/recsys")
    monkeypatch.setenv("ONLINE_PASSWORD", "p")
    values = merged(case_values("mesh"), load(KIND / "values.yaml"))
    file = tmp_path / "recsys.yaml"
    file.write_text(yaml.safe_dump(values["settings"]), encoding="utf-8")
    assert load_settings(home=tmp_path, config=file).stores.s3.endpoint_url == "http://s3.stores.svc.cluster.local:8333"
    for path in KIND.glob("*.yaml"):
        if path.read_text(encoding="utf-8").startswith("# chart:"):
            assert pinned(path) == pinned(VALUES / path.name.replace("values", "recsys-assets"))


def test_the_kind_runbook_takes_every_version_from_the_files_of_values() -> None:
    script = (KIND / "up.sh").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\(version ([a-z-]+)\)", script))
    assert named == {path.stem for path in values_files()} - {"recsys-assets", "istiod-plain-envoy"}
    assert "NOT RUN by our tests" in script


@pytest.mark.parametrize("path", values_files(), ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Any) -> None:
    for place, value in _texts(load(path)):
        if re.search(r"(password|secret|token)$", place, re.IGNORECASE):
            assert value == "" or re.fullmatch(r"recsys-[a-z-]+", value), place
        assert not re.search(r"://[^/@\s]+:[^/@\s]+@", value), place


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, str(key))
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below, place)
    elif isinstance(value, str):
        yield place, value
