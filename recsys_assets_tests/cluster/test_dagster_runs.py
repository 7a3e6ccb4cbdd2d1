"""Dagster by its own chart with our values: a run is a pod, each step another, with the rights of our chart alone.

Here: one small job through webserver, daemon, run launcher and step pods. Not here: a release (test_story.py).
"""

from __future__ import annotations

import pytest

from recsys_assets_tests.cluster.dagster_chart import DAEMON, WEBSERVER
from recsys_assets_tests.cluster.dagster_runs import asked, ended, launch, loaded, wait_loaded, why
from recsys_assets_tests.cluster.house import BUCKET
from recsys_assets_tests.cluster.installed import Installed
from recsys_assets_tests.journeys import town
from recsys_assets_tests.stores.servers import S3

pytestmark = pytest.mark.cluster
JOB = "catalogue"


@pytest.fixture(scope="module")
def run(dagster: Installed) -> str:
    """A finished run of a job with two steps; its id."""
    wait_loaded(dagster)
    town.land_catalogue(dagster.home)
    over = ended(dagster, launch(dagster, JOB))
    print(f"{JOB}: {over.status} after {over.seconds:.1f} s")  # noqa: T201
    assert over.status == "SUCCESS", why(dagster, over.run_id)
    return over.run_id


def test_the_location_is_the_one_of_the_workspace(dagster: Installed, run: str) -> None:
    assert loaded(dagster) == ["recsys_assets"]


def test_a_step_is_a_pod_of_its_own_with_the_identity_the_volume_and_the_secrets_of_the_code_location(
    dagster: Installed, run: str
) -> None:
    jobs = dagster.get("batch/v1", "jobs")["items"]
    mine = [each for each in jobs if each["metadata"]["labels"].get("dagster/run-id") == run]
    steps = [each for each in mine if "dagster/op" in each["metadata"]["labels"]]
    assert {each["metadata"]["labels"]["dagster/op"] for each in steps} == {"items", "users"}
    assert len(mine) == len(steps) + 1
    for each in mine:
        pod = each["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == "recsys-dagster"
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsUser"] == 10001
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"/var/lib/recsys", "/etc/recsys", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
        assert each["spec"]["template"]["metadata"]["labels"]["recsys-assets.dev/identity"] == "dagster"


def test_what_the_steps_said_stands_on_s3(run: str, s3_server: S3) -> None:
    listed = s3_server.client().list_objects_v2(Bucket=BUCKET, Prefix="dagster/compute-logs")
    assert any(run in each["Key"] for each in listed.get("Contents", []))


def test_the_tables_stand_on_s3(run: str, s3_server: S3) -> None:
    listed = s3_server.client().list_objects_v2(Bucket=BUCKET, Prefix="tables/items")
    assert any("_delta_log" in each["Key"] for each in listed.get("Contents", []))


def test_the_daemon_is_well_and_nothing_was_restarted(dagster: Installed, run: str) -> None:
    healthy = "query { instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
    told = asked(dagster, healthy)["instance"]["daemonHealth"]["allDaemonStatuses"]
    assert [each["daemonType"] for each in told if each["required"] and not each["healthy"]] == []
    for name in (WEBSERVER, DAEMON):
        assert dagster.is_available(name)
