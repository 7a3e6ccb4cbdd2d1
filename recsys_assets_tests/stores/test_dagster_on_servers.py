"""A job of ours with everything on servers: Dagster's runs and events in Postgres, its compute logs and our tables on
S3, the ledger in Postgres. What was written is read back by another process.

Here: one run by `dagster job execute`. Not here: pods (cluster/), or how the chart writes its dagster.yaml (charts/).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.compute_log_manager import ComputeIOType

import recsys_assets
from recsys_assets.resources.tables import TablesResource, s3_options
from recsys_assets.rollout.ledger import MARKED, Ledger
from recsys_assets.rollout.ledger_postgres import PostgresBook
from recsys_assets.settings import PACKAGED_CONFIG
from recsys_assets.store_settings import S3Settings
from recsys_assets_tests.rollout.build import later
from recsys_assets_tests.stores.servers import HOST, REGION, S3, Postgres
from recsys_assets_tests.waiting import HANG_SECONDS

ASSETS = {"exposure_marks", "exposures", "feedback"}
DOCKERFILE = Path(recsys_assets.__file__).parent.parent / "Dockerfile"
# Dagster leaves the zone of its sessions to the database; our image gives it.
_ZONES = re.compile(r"^ +((?:PG)?TZ)=(\S+)", re.MULTILINE)


def write_instance(folder: Path, postgres: Postgres, s3: S3, bucket: str) -> None:
    """What the chart's instance comes to, without its launcher; no secret stands in it."""
    compute_logs = {
        "module": "dagster_aws.s3.compute_log_manager",
        "class": "S3ComputeLogManager",
        "config": {
            "bucket": bucket.removeprefix("s3://"),
            "prefix": "dagster/logs",
            "endpoint_url": s3.endpoint,
            "local_dir": str(folder / "logs"),
        },
    }
    folder.mkdir()
    # SQLAlchemy 2.1 takes plain `postgresql://` for psycopg 3; dagster-postgres reads the error codes of psycopg2.
    database = {
        "username": "postgres",
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": HOST,
        "port": postgres.server.port,
        "db_name": "dagster",
        "scheme": "postgresql+psycopg2",
    }
    storage = {"postgres": {"postgres_db": database}}
    told = {"storage": storage, "compute_logs": compute_logs, "telemetry": {"enabled": False}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(told))


def write_settings(folder: Path, s3: S3, bucket: str) -> Path:
    stores = {
        "tables": f"{bucket}/tables",
        "s3": {"endpoint_url": s3.endpoint, "region": REGION},
        "ledger_url_env": "RECSYS_LEDGER_URL",
        "dagster_instance": str(folder / "dagster.yaml"),
    }
    path = folder.parent / "recsys.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(PACKAGED_CONFIG.read_text()) | {"stores": stores}))
    return path


@pytest.mark.slow
def test_a_job_runs_with_all_its_state_on_servers_and_leaves_none_in_files(
    tmp_path: Path, postgres_server: Postgres, s3_server: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_url = postgres_server.make("dagster_ledger")
    postgres_server.make("dagster")
    postgres_server.run("ALTER DATABASE dagster SET timezone = 'America/New_York'")
    began = datetime.now(UTC)
    ledger = Ledger(PostgresBook(ledger_url))
    mark = {"model_version": "7", "since": later(1).isoformat(), "until": later(9).isoformat()}
    ledger.append(MARKED, release_id="rel-7", actor="me", at=later(9), key="rel-7/marks", body=mark)
    instance_folder, home = tmp_path / "dagster_home", tmp_path / "home"
    write_instance(instance_folder, postgres_server, s3_server, bucket)
    environment = {
        "RECSYS_HOME": str(home),
        "RECSYS_CONFIG": str(write_settings(instance_folder, s3_server, bucket)),
        "RECSYS_LEDGER_URL": ledger_url,
        "DAGSTER_PG_PASSWORD": "any",
        "DAGSTER_HOME": str(instance_folder),
        **dict(_ZONES.findall(DOCKERFILE.read_text(encoding="utf-8"))),
    }
    words = ["job", "execute", "-m", "recsys_assets.definitions", "-j", "collect_feedback"]
    code = "from dagster._cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "any")
    with dg.DagsterInstance.from_config(str(instance_folder)) as instance:
        (record,) = instance.get_run_records()
        assert began < record.create_timestamp < record.update_timestamp < datetime.now(UTC)
        run = record.dagster_run
        assert (run.job_name, run.status) == ("collect_feedback", dg.DagsterRunStatus.SUCCESS)
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
        made = {str(e.asset_key.to_user_string()) for e in events if e.is_step_materialization and e.asset_key}
        assert made == ASSETS
        (captured,) = [event.logs_captured_data for event in events if event.event_type_value == "LOGS_CAPTURED"]
        key = instance.compute_log_manager.build_log_key_for_run(run.run_id, captured.file_key)
        assert b"STEP_SUCCESS" in (instance.compute_log_manager.get_log_data(key).stderr or b"")
        assert instance.compute_log_manager.cloud_storage_has_logs(key, ComputeIOType.STDERR)
    kept = s3_server.client().list_objects_v2(Bucket=bucket.removeprefix("s3://"), Prefix="dagster/logs/")["Contents"]
    assert any(run.run_id in entry["Key"] for entry in kept)

    options = s3_options(S3Settings(endpoint_url=s3_server.endpoint, region=REGION))
    (row,) = TablesResource(root=f"{bucket}/tables", storage_options=options).read("exposure_marks").to_dicts()
    assert (row["model_version"], row["since"]) == ("7", later(0) + timedelta(seconds=1))
    assert not [path for path in home.rglob("*") if path.suffix in {".db", ".sqlite"} or "tables" in path.parts]
