"""Section `stores`: what is wrong is told at the start, all at once, and no secret is ever told.

Here: the shape of the section and the variables that it names. Not here: any server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_assets import home
from recsys_assets.settings import PACKAGED_CONFIG, ConfigError, Settings, load_settings
from recsys_assets.store_settings import redis_address

LEDGER = "postgresql://recsys:hunter2@postgres:5432/ledger"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECSYS_HOME", "RECSYS_CONFIG", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


def loaded(tmp_path: Path, stores: Any, *, platform: str = "local", **more: Any) -> Settings:
    raw = yaml.safe_load(PACKAGED_CONFIG.read_text()) | {"stores": stores, "platform": platform}
    path = tmp_path / "recsys.yaml"
    path.write_text(yaml.safe_dump(raw))
    return load_settings(home=tmp_path / "home", config=path, **more)


def test_without_the_section_all_state_is_in_the_home_folder(settings: Settings) -> None:
    assert set(settings.stores.model_dump(exclude={"s3"}).values()) == {None}
    assert settings.dagster_home == settings.path("dagster")


def test_a_whole_section_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_LEDGER_URL", LEDGER)
    monkeypatch.setenv("RECSYS_REDIS_PASSWORD", "s3same")
    found = loaded(
        tmp_path,
        {
            "tables": "s3://lake/recsys/tables/",
            "bundles": "s3://lake/recsys/bundles",
            "s3": {"endpoint_url": "http://s3:8333", "region": "eu-central-1"},
            "ledger_url_env": "RECSYS_LEDGER_URL",
            "online": "rediss://valkey.recsys.svc:6379/3",
            "online_password_env": "RECSYS_REDIS_PASSWORD",
            "mlflow": "http://mlflow:5000/",
        },
    )
    assert (found.stores.tables, found.stores.mlflow) == ("s3://lake/recsys/tables", "http://mlflow:5000")
    assert found.stores.online is not None
    address = redis_address(found.stores.online)
    assert (address.host, address.port, address.db, address.tls) == ("valkey.recsys.svc", 6379, 3, True)
    assert found.secrets.ledger_url is not None
    assert found.secrets.ledger_url.get_secret_value() == LEDGER


def test_every_error_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    wrong = {
        "tables": "s3:///prefix",
        "bundles": "/folder",
        "s3": {"endpoint_url": "s3.example:80", "region": "Mars!"},
        "ledger_url_env": "RECSYS_LEDGER_URL",
        "feast_registry_url_env": "not a name",
        "online": "redis://cache",
        "mlflow": "http://me:secret@mlflow:5000",
        "dagster_instance": "dagster.yaml",
        "colour": "red",
    }
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, wrong)
    for part in (
        "RECSYS_LEDGER_URL is not set",
        "stores.tables",
        "stores.bundles",
        "stores.s3.endpoint_url",
        "stores.s3.region",
        "stores.feast_registry_url_env",
        "stores.online:",
        "stores.mlflow",
        "stores.dagster_instance",
        "stores.colour",
    ):
        assert part in str(told.value), part


@pytest.mark.parametrize(
    "uri", ["s3://", "s3://B", "s3://a_b/x", "s3://bucket/../x", "s3://bucket//x", "file:///x", "s3://a..b/c"]
)
def test_a_place_that_is_no_bucket_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match="must be s3://bucket/prefix"):
        loaded(tmp_path, {"tables": uri})


@pytest.mark.parametrize(
    "url", ["cache:6379", "redis://:6379", "redis://h:0/0", "redis://h:6379/x", "redis://h:6379/1/2", "redis://h:99999"]
)
def test_a_bad_redis_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"stores\.online"):
        loaded(tmp_path, {"online": url})


def test_a_password_in_the_settings_is_refused_and_not_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="online_password_env"):
        loaded(tmp_path, {"online": "redis://:hunter2@cache:6379/0"})


@pytest.mark.parametrize("value", ["", "mysql://h/db", "postgresql://u:hunter2@h", "postgresql://u:hunter2@h:0/db"])
def test_an_address_that_is_not_postgres_is_refused_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("RECSYS_LEDGER_URL", value)
    with pytest.raises(ConfigError, match="RECSYS_LEDGER_URL") as told:
        loaded(tmp_path, {"ledger_url_env": "RECSYS_LEDGER_URL"})
    assert "hunter2" not in str(told.value)


def test_only_variables_that_a_setting_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_LEDGER_URL", LEDGER)
    with pytest.raises(ConfigError, match="unknown variable RECSYS_LEDGER_URL"):
        loaded(tmp_path, {})
    assert loaded(tmp_path, {"ledger_url_env": "RECSYS_LEDGER_URL"}).secrets.ledger_url


def test_a_process_is_asked_only_for_the_secrets_it_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_LEDGER_URL", LEDGER)
    both = {"ledger_url_env": "RECSYS_LEDGER_URL", "feast_registry_url_env": "RECSYS_FEAST_URL"}
    with pytest.raises(ConfigError, match="RECSYS_FEAST_URL is not set"):
        loaded(tmp_path, both)
    assert loaded(tmp_path, both, secrets=("ledger_url",)).secrets.feast_registry_url is None


def test_a_secret_is_neither_shown_nor_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_LEDGER_URL", LEDGER)
    found = loaded(tmp_path, {"ledger_url_env": "RECSYS_LEDGER_URL"})
    for told in (repr(found), str(found), repr(found.secrets), found.model_dump_json(), str(found.model_dump())):
        assert "hunter2" not in told


def test_a_secret_cannot_be_set_in_the_file(tmp_path: Path) -> None:
    raw = yaml.safe_load(PACKAGED_CONFIG.read_text()) | {"secrets": {"ledger_url": LEDGER}}
    path = tmp_path / "recsys.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match="secrets cannot be set in the file"):
        load_settings(home=tmp_path, config=path)


def test_what_kubernetes_says_of_a_service_is_not_taken_for_a_misspelled_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = {
        "RECSYS_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "RECSYS_GATEWAY_SERVICE_PORT": "80",
        "RECSYS_GATEWAY_SERVICE_PORT_HTTP2": "80",
        "RECSYS_GATEWAY_PORT": "tcp://10.0.0.1:80",
        "RECSYS_GATEWAY_PORT_80_TCP": "tcp://10.0.0.1:80",
        "RECSYS_GATEWAY_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="unknown variable RECSYS_GATEWAY_PORT"):
        loaded(tmp_path, {})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.0")
    assert loaded(tmp_path, {})
    monkeypatch.setenv("RECSYS_COLECTOR_PORT", "80")
    with pytest.raises(ConfigError, match="unknown variable RECSYS_COLECTOR_PORT"):
        loaded(tmp_path, {})


def test_a_dagster_instance_of_somebody_else_is_used_and_never_written(tmp_path: Path) -> None:
    instance = tmp_path / "chart" / "dagster.yaml"
    found = loaded(tmp_path, {"dagster_instance": str(instance)})
    with pytest.raises(ConfigError, match=r"no dagster\.yaml"):
        home.prepare(found)
    instance.parent.mkdir()
    instance.write_text("telemetry: {enabled: false}\n")
    home.prepare(found)
    assert home.environment(found)["DAGSTER_HOME"] == str(instance.parent)
    assert instance.read_text() == "telemetry: {enabled: false}\n"
    assert not found.path("dagster").exists()


def test_on_one_machine_a_dagster_home_of_another_project_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "theirs"))
    assert loaded(tmp_path, {}).dagster_home == tmp_path / "home" / "dagster"


def test_on_a_cluster_no_state_is_left_in_files_that_several_pods_would_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, {"online": "redis://cache:6379/0"}, platform="kubernetes")
    for name in ("tables", "ledger_url_env", "feast_registry_url_env", "mlflow"):
        assert f"stores.{name}: must be set on platform kubernetes" in str(told.value)
    assert "stores.online:" not in str(told.value)
    monkeypatch.setenv("RECSYS_LEDGER_URL", LEDGER)
    whole = {
        "tables": "s3://lake/tables",
        "ledger_url_env": "RECSYS_LEDGER_URL",
        "feast_registry_url_env": "RECSYS_LEDGER_URL",
        "online": "redis://cache:6379/0",
        "mlflow": "http://mlflow:5000",
    }
    monkeypatch.setenv("DAGSTER_HOME", "/opt/dagster/dagster_home")
    found = loaded(tmp_path, whole, platform="kubernetes")
    assert found.dagster_home == Path("/opt/dagster/dagster_home"), "the chart mounts it"


@pytest.mark.parametrize("scheme", ["gs", "abfs", "hdfs", "http", "file", "s3a"])
@pytest.mark.parametrize("setting", ["tables", "bundles"])
def test_a_scheme_that_is_not_supported_is_refused_by_name(tmp_path: Path, setting: str, scheme: str) -> None:
    with pytest.raises(ConfigError, match=rf"stores\.{setting}: .*the scheme {scheme}:// is not supported"):
        loaded(tmp_path, {setting: f"{scheme}://bucket/prefix"})
