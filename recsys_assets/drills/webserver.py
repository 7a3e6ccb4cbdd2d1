"""The running Dagster, asked through the GraphQL API that its own UI uses.

Here: launching a job and looking after its run. Not here: what a drill is, or waiting for one (play.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from recsys_assets.errors import UserFacingError
from recsys_assets.settings import Settings

_REPOSITORY: Final = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
_LAUNCH: Final = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on Error { message } } }"""
_RUN: Final = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_ACTIVE: Final = """query($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 20) { ... on Runs { results {
  runId jobName status } } } }"""
_BUSY: Final = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
ENDED: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


class DagsterAway(UserFacingError, RuntimeError):  # noqa: N818
    """The webserver does not answer, or not as it should; the message says what it said."""


@dataclass(frozen=True)
class Webserver:
    """One webserver, by its address."""

    url: str

    @classmethod
    def of(cls, settings: Settings) -> Webserver:
        """On one machine by its port, whatever address people are given."""
        if settings.platform == "kubernetes":
            return cls(settings.ui_url)
        return cls(f"http://{settings.serving.host}:{settings.serving.dagster_port}")

    def launch(
        self, job: str, *, config: Mapping[str, Any], tags: Mapping[str, str], assets: Sequence[str] = ()
    ) -> str:
        """Have the job run, or these of its assets only; returns the run's id."""
        [repository] = self._ask(_REPOSITORY)["repositoriesOrError"]["nodes"]
        params = {
            "selector": {
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
                "jobName": job,
                **({"assetSelection": [{"path": [name]} for name in assets]} if assets else {}),
            },
            "runConfigData": dict(config),
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        told = self._ask(_LAUNCH, params=params)["launchRun"]
        if told["__typename"] != "LaunchRunSuccess":
            raise DagsterAway(f"{job} was not launched: {told.get('message') or told.get('errors')}")
        return str(told["run"]["runId"])

    def status(self, run_id: str) -> str:
        """The run's status in Dagster's own words."""
        return str(self._ask(_RUN, id=run_id)["runOrError"].get("status", "UNKNOWN"))

    def under_way(self, job: str) -> list[str]:
        """Ids of the job's runs that have not ended."""
        found = self._ask(_ACTIVE, filter={"pipelineName": job, "statuses": list(_BUSY)})["runsOrError"]
        return [run["runId"] for run in found["results"]]

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        try:
            asked = {"query": query, "variables": variables}
            response = httpx.post(f"{self.url}/graphql", json=asked, timeout=30, trust_env=False)
            response.raise_for_status()
            told = response.json()
        except (httpx.HTTPError, ValueError) as away:
            raise DagsterAway(f"Dagster does not answer at {self.url}: {away}") from None
        if "errors" in told:
            raise DagsterAway(f"Dagster says: {told['errors'][0].get('message')}")
        data: dict[str, Any] = told["data"]
        return data
