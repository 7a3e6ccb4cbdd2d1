"""Dagster by its own chart with our values: a run is a pod, each step another, with the rights of our chart alone.

Here: one small job through webserver, daemon, run launcher and step pods. Not here: a release (test_story.py).
"""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from cluster.processes import poll
from recsys_assets.interactions.movielens import land_items_users
from recsys_assets_tests.cluster.dagster_chart import DAEMON, WEBSERVER
from recsys_assets_tests.cluster.house import BUCKET
from recsys_assets_tests.cluster.installed import Installed
from recsys_assets_tests.stores.servers import S3

pytestmark = pytest.mark.cluster
SECONDS = 900.0
JOB = "catalogue"
LOCATION = {"repositoryLocationName": "recsys_assets", "repositoryName": "__repository__"}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } }
}"""
STATUS = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
EVENTS = """
query Events($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename ... on MessageEvent {
  message stepKey } ... on ErrorEvent { error { message causes { message } } } } } } }"""
LOCATIONS = """
query { workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
  __typename ... on PythonError { message } } } } } }"""


def asked(dagster: Installed, query: str, **variables: Any) -> Any:
    service = dagster.get("", "services", WEBSERVER)
    address = f"http://{service['spec']['clusterIP']}:3000/graphql"
    answer = httpx.post(address, json={"query": query, "variables": variables}, trust_env=False, timeout=120)
    answer.raise_for_status()
    told = answer.json()
    assert not told.get("errors"), told
    return told["data"]


@pytest.fixture(scope="module")
def run(dagster: Installed) -> str:
    """A finished run of a job with two steps; its id."""
    poll("the code location being loaded", lambda: bool(_loaded(dagster)), SECONDS)
    land_items_users(dagster.home)
    params = {"selector": {**LOCATION, "jobName": JOB}, "runConfigData": {}, "executionMetadata": {"tags": []}}
    launched = asked(dagster, LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id: str = launched["run"]["runId"]
    started = time.monotonic()

    def status() -> str:
        found: str = asked(dagster, STATUS, id=run_id)["runOrError"]["status"]
        return found

    poll("the end of the run", lambda: status() in {"SUCCESS", "FAILURE", "CANCELED"}, SECONDS)
    print(f"{JOB}: {status()} after {time.monotonic() - started:.1f} s")  # noqa: T201
    assert status() == "SUCCESS", why(dagster, run_id)
    return run_id


def _loaded(dagster: Installed) -> list[str]:
    entries = asked(dagster, LOCATIONS)["workspaceOrError"]["locationEntries"]
    broken = [
        each["locationOrLoadError"]["message"] for each in entries if "message" in (each["locationOrLoadError"] or {})
    ]
    if broken:
        print(broken)  # noqa: T201
    return [each["name"] for each in entries if each["loadStatus"] == "LOADED" and not broken]


def why(dagster: Installed, run_id: str) -> str:
    """What went wrong in a run, for whoever reads a failure: errors of its events, and the ends of its pods' logs."""
    events = asked(dagster, EVENTS, id=run_id)["logsForRun"]["events"]
    told = [f"{each['stepKey']}: {each['error']['message']}" for each in events if each.get("error")]
    pods = dagster.get("", "pods?labelSelector=dagster/run-id=" + run_id)["items"]
    for name in (pod["metadata"]["name"] for pod in pods):
        told.append(f"-- {name}")
        log = dagster.cluster.api.request("GET", f"/api/v1/namespaces/recsys/pods/{name}/log?tailLines=40")
        told.append(str(log)[-6_000:])
    return "\n".join(told)


def test_the_location_is_the_one_of_the_workspace(dagster: Installed, run: str) -> None:
    assert _loaded(dagster) == ["recsys_assets"]


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
