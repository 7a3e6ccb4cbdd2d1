"""`recsys-assets drill` refuses clearly, launches the job and tells what came of it.

Here: the command against a small HTTP server that answers as Dagster's GraphQL does. Not here: a drill for real.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from recsys_assets.drills import cli
from recsys_assets.drills.play import DrillRefused, refuse_unless_ready
from recsys_assets.drills.webserver import DagsterAway, Webserver
from recsys_assets.records import Phase
from recsys_assets.settings import Settings
from recsys_assets_tests.rollout.build import route

REPOSITORY = {"repositoriesOrError": {"nodes": [{"name": "__repository__", "location": {"name": "here"}}]}}


class Dagster:
    """What the webserver knows, and what it was asked to launch."""

    def __init__(self) -> None:
        self.active: dict[str, list[str]] = {}
        self.launched: list[dict[str, Any]] = []
        self.refusal: str | None = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, variables = asked["query"], asked["variables"]
        if "launchRun" in query:
            self.launched.append(variables["params"])
            if self.refusal:
                return {"launchRun": {"__typename": "PythonError", "message": self.refusal}}
            return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "run-1"}}}
        if "runsOrError" in query:
            found = self.active.get(variables["filter"]["pipelineName"], [])
            return {"runsOrError": {"results": [{"runId": run} for run in found]}}
        if "runOrError" in query:
            return {"runOrError": {"status": "SUCCESS"}}
        return REPOSITORY


@pytest.fixture
def dagster() -> Dagster:
    return Dagster()


@pytest.fixture
def webserver(dagster: Dagster) -> Iterator[Webserver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({"data": dagster.answer(asked)}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Webserver(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_job_is_launched_with_its_config_and_tags(dagster: Dagster, webserver: Webserver) -> None:
    assert webserver.launch("release", config={"ops": {}}, tags={"why": "drill"}) == "run-1"
    assert webserver.status("run-1") == "SUCCESS"
    [launched] = dagster.launched
    assert launched["selector"]["jobName"] == "release"
    assert launched["executionMetadata"]["tags"] == [{"key": "why", "value": "drill"}]


def test_what_dagster_refuses_is_told_in_its_words(dagster: Dagster, webserver: Webserver) -> None:
    dagster.refusal = "no such job"
    with pytest.raises(DagsterAway, match="no such job"):
        webserver.launch("release", config={}, tags={})


def test_refused_while_a_release_runs(dagster: Dagster, webserver: Webserver, settings: Settings) -> None:
    dagster.active["release"] = ["run-7"]
    with pytest.raises(DrillRefused, match="under way: run run-7"):
        refuse_unless_ready(settings, webserver, route(Phase.CHAMPION))


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW, Phase.CANARY, Phase.BAKING])
def test_refused_while_a_release_is_on_the_route(phase: Phase, webserver: Webserver, settings: Settings) -> None:
    with pytest.raises(DrillRefused, match=f"rel-2 is {phase.value}"):
        refuse_unless_ready(settings, webserver, route(phase))


def test_refused_without_a_champion(webserver: Webserver, settings: Settings) -> None:
    with pytest.raises(DrillRefused, match="no champion"):
        refuse_unless_ready(settings, webserver, None)


def test_refused_where_the_gateway_does_not_answer(webserver: Webserver, settings: Settings) -> None:
    with pytest.raises(DrillRefused, match="the gateway does not answer"):
        refuse_unless_ready(settings, webserver, route(Phase.CHAMPION))


def test_the_command_says_that_nothing_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "load_settings", lambda: settings)
    told = CliRunner().invoke(cli.app, ["slow"])
    assert told.exit_code == 1
    assert "Dagster does not answer" in told.output


@pytest.mark.parametrize("arguments", [[""], ["sloow"]])
def test_an_unknown_kind_is_wrong_usage(
    arguments: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "load_settings", lambda: settings)
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 2
    assert "slow, failing, worse, stale_features" in told.output


def test_the_report_without_a_drill_fails_and_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "load_settings", lambda: settings)
    told = CliRunner().invoke(cli.app, ["--report"])
    assert (told.exit_code, told.output.strip()) == (1, "INCONCLUSIVE: no drill was played yet")
