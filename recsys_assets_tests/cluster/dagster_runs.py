"""Runs of the installed Dagster through its webserver's GraphQL: launched, waited for, and why one failed.

Here: asking. Not here: installing Dagster (dagster_chart.py), or any claim.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from cluster.processes import poll
from recsys_assets.rollout.words import LOCATION as LOCATION_NAME
from recsys_assets_tests.cluster.dagster_chart import WEBSERVER
from recsys_assets_tests.cluster.installed import NAMESPACE, Installed

SECONDS = 900.0
ENDS = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
LOCATION = {"repositoryLocationName": LOCATION_NAME, "repositoryName": "__repository__"}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } }
}"""
STATUS = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
EVENTS = """
query Events($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename ... on MessageEvent {
  message stepKey timestamp } ... on ErrorEvent { error { message causes { message } } } } } } }"""
LOCATIONS = """
query { workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
  __typename ... on PythonError { message } } } } } }"""
MADE = """
query Made($asset: String!) { assetOrError(assetKey: {path: [$asset]}) { ... on Asset {
  assetMaterializations(limit: 500) { runId partition } } } }"""


@dataclass(frozen=True)
class Ended:
    """A run that is over: its status, how long it took, and what it said, step by step."""

    run_id: str
    status: str
    seconds: float
    said: Sequence[str]


def url(dagster: Installed) -> str:
    """The webserver's address, on the Service's own cluster address."""
    service = dagster.get("", "services", WEBSERVER)
    return f"http://{service['spec']['clusterIP']}:3000"


def asked(dagster: Installed, query: str, **variables: Any) -> Any:
    answer = httpx.post(
        f"{url(dagster)}/graphql", json={"query": query, "variables": variables}, trust_env=False, timeout=120
    )
    answer.raise_for_status()
    told = answer.json()
    assert not told.get("errors"), told
    return told["data"]


def loaded(dagster: Installed) -> list[str]:
    """The code locations that could be loaded; none where one is broken."""
    entries = asked(dagster, LOCATIONS)["workspaceOrError"]["locationEntries"]
    broken = [
        each["locationOrLoadError"]["message"] for each in entries if "message" in (each["locationOrLoadError"] or {})
    ]
    return [each["name"] for each in entries if each["loadStatus"] == "LOADED" and not broken]


def wait_loaded(dagster: Installed) -> None:
    poll("the code location being loaded", lambda: bool(loaded(dagster)), SECONDS)


def launch(dagster: Installed, job: str, *, assets: Sequence[str] = (), config: Mapping[str, Any] | None = None) -> str:
    """Have a run of this job launched, of some of its assets where named; returns its id."""
    selector: dict[str, Any] = {**LOCATION, "jobName": job}
    if assets:
        selector["assetSelection"] = [{"path": [name]} for name in assets]
    params = {"selector": selector, "runConfigData": dict(config or {}), "executionMetadata": {"tags": []}}
    launched = asked(dagster, LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id: str = launched["run"]["runId"]
    return run_id


def status(dagster: Installed, run_id: str) -> str:
    found: str = asked(dagster, STATUS, id=run_id)["runOrError"]["status"]
    return found


def ended(dagster: Installed, run_id: str, *, seconds: float = SECONDS) -> Ended:
    """Wait until the run is over."""
    started = time.monotonic()
    poll(f"the end of run {run_id}", lambda: status(dagster, run_id) in ENDS, seconds, every_seconds=1.0)
    took = time.monotonic() - started
    said = [f"{each.get('stepKey')}: {each.get('message')}" for each in _events(dagster, run_id)]
    return Ended(run_id, status(dagster, run_id), took, said)


def materialized(dagster: Installed, asset: str) -> list[str | None]:
    """The partitions of its materializations, newest first; None for one without."""
    made = asked(dagster, MADE, asset=asset)["assetOrError"].get("assetMaterializations", [])
    return [each["partition"] for each in made]


def why(dagster: Installed, run_id: str) -> str:
    """What went wrong in a run, for whoever reads a failure: errors of its events, and the ends of its pods' logs."""
    told = [f"{each['stepKey']}: {each['error']['message']}" for each in _events(dagster, run_id) if each.get("error")]
    pods = dagster.get("", "pods?labelSelector=dagster/run-id=" + run_id)["items"]
    for name in (pod["metadata"]["name"] for pod in pods):
        log = dagster.cluster.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/log?tailLines=40")
        told += [f"-- {name}", str(log)[-6_000:]]
    return "\n".join(told)


def _events(dagster: Installed, run_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = asked(dagster, EVENTS, id=run_id)["logsForRun"]["events"]
    return events
