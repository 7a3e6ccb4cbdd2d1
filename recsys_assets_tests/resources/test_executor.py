"""Where steps run: in the run's process on one machine, in pods with their own sizes on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.resources.executor import executor_of, step_config
from recsys_assets.rollout.jobs import ADVANCE_JOB, COLLECT_JOB, RELEASE_JOB
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings

SECTION = """
platform: kubernetes
kubernetes:
  concurrent_steps: 2
  resources_by_step:
    ranker_model: {cpu: "2", memory: 4Gi, cpu_limit: null, memory_limit: 8Gi}
stores:
  tables: s3://lake/tables
  ledger_url_env: LEDGER_URL
  feast_registry_url_env: FEAST_REGISTRY_URL
  online: redis://valkey:6379/0
  mlflow: http://mlflow:5000
"""


@pytest.fixture
def on_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("LEDGER_URL", "FEAST_REGISTRY_URL"):
        monkeypatch.setenv(name, "postgresql://recsys@postgres/recsys")
    config = tmp_path / "recsys.yaml"
    config.write_text(PACKAGED_CONFIG.read_text(encoding="utf-8") + SECTION, encoding="utf-8")
    return load_settings(home=tmp_path / "home", config=config)


def test_on_one_machine_the_steps_share_the_process_of_their_run(tmp_path: Path) -> None:
    assert executor_of(load_settings(home=tmp_path, config=PACKAGED_CONFIG)) is dg.in_process_executor


def test_a_step_that_is_named_has_its_own_sizes_and_no_limit_that_was_not_asked_for(on_a_cluster: Settings) -> None:
    config = step_config(on_a_cluster)
    assert config["max_concurrent"] == 2
    assert config["per_step_k8s_config"] == {
        "ranker_model": {
            "container_config": {
                "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
            }
        }
    }


def test_dagster_takes_the_configuration_of_the_executor(on_a_cluster: Settings) -> None:
    from dagster._config import validate_config
    from dagster_k8s import k8s_job_executor

    assert executor_of(on_a_cluster).name == "k8s_sized_steps"
    checked = validate_config(k8s_job_executor.config_field.config_type, step_config(on_a_cluster))
    assert checked.success, checked.errors


def test_on_a_cluster_a_training_has_pods_and_a_tick_or_a_word_of_a_person_has_none(on_a_cluster: Settings) -> None:
    from recsys_assets.definitions import build_defs

    jobs = {job.name: job for job in build_defs(on_a_cluster).get_repository_def().get_all_jobs()}
    assert jobs[RELEASE_JOB].executor_def.name == jobs["train"].executor_def.name == "k8s_sized_steps"
    at_hand = {name for name, job in jobs.items() if job.executor_def is dg.in_process_executor}
    words = {"approve_release", "pause_release", "resume_release", "roll_back_release", "override_rolled_back_digest"}
    assert at_hand == {ADVANCE_JOB, COLLECT_JOB, *words}


def test_every_step_that_is_given_a_size_exists(on_a_cluster: Settings) -> None:
    from recsys_assets.definitions import build_defs

    repository = build_defs(on_a_cluster).get_repository_def()
    steps = {node.name for job in repository.get_all_jobs() for node in job.graph.nodes}
    assert on_a_cluster.kubernetes.resources_by_step.keys() <= steps
    assert "kubernetes" in sys.modules
