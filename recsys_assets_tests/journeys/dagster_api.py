"""The running Dagster, asked through the GraphQL API that its UI uses.

Here: queries, and waiting for what they tell. Not here: any claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpx

from recsys_assets.settings import Settings
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

ASSETS = "{ assetNodes { assetKey { path } } }"
RUNS = """query($asset: String!) { assetOrError(assetKey: {path: [$asset]}) { ... on Asset {
  assetMaterializations(limit: 20) { runId timestamp } } } }"""
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status jobName tags { key value } } } }"
LATEST_RUNS = "{ runsOrError(limit: 50) { ... on Runs { results { runId status jobName assetSelection { path } } } } }"
SENSORS = """{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { name sensorState { status
  ticks(dayRange: 1, limit: 20) { status error { message } } } } } } } }"""

# A look costs the webserver what a page costs it, and takes that from the runs that are waited for.
LOOK_SECONDS: Final = 0.5
ENDS: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_T = TypeVar("_T")


def in_time(look: Callable[[], _T | None], *, what: str) -> _T:
    """What a question to Dagster, or to a table that a run writes, tells in the end."""
    return eventually(look, what=what, every_seconds=LOOK_SECONDS)


class DagsterApi:
    """One webserver."""

    def __init__(self, settings: Settings) -> None:
        self.url = f"http://{settings.serving.host}:{settings.serving.dagster_port}"

    def ask(self, query: str, **variables: str) -> dict[str, Any]:
        response = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=HANG_SECONDS
        )
        response.raise_for_status()
        told = response.json()
        assert "errors" not in told, told["errors"]
        data: dict[str, Any] = told["data"]
        return data

    def assets(self) -> set[str]:
        return {node["assetKey"]["path"][-1] for node in self.ask(ASSETS)["assetNodes"]}

    def runs_that_made(self, asset: str) -> list[str]:
        """Ids of the runs that materialized the asset, newest first; what a sensor showed was made by no run."""
        made = self.ask(RUNS, asset=asset)["assetOrError"].get("assetMaterializations", [])
        return [each["runId"] for each in made if each["runId"]]

    def run(self, run_id: str) -> dict[str, Any]:
        """Status, job and tags of a run."""
        told: dict[str, Any] = self.ask(RUN, id=run_id)["runOrError"]
        return told | {"tags": {tag["key"]: tag["value"] for tag in told["tags"]}}

    def end_of(self, run_id: str) -> dict[str, Any]:
        """The run once it has ended."""

        def ended() -> dict[str, Any] | None:
            told = self.run(run_id)
            return told if told["status"] in ENDS else None

        return in_time(ended, what=f"the end of run {run_id}")

    def latest_runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.ask(LATEST_RUNS)["runsOrError"]["results"]
        return runs

    def sensors(self) -> dict[str, dict[str, Any]]:
        """State of each sensor by name, with its latest ticks, newest first."""
        [repository] = self.ask(SENSORS)["repositoriesOrError"]["nodes"]
        return {sensor["name"]: sensor["sensorState"] for sensor in repository["sensors"]}
