"""The links of the evaluation report, opened over HTTP against the real collector and a real MLflow server."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

import dagster as dg
import httpx
import pytest

from recsys_assets.platform.local import stack
from recsys_assets.platform.local.programs import COLLECTOR, MLFLOW
from recsys_assets.settings import Settings
from recsys_assets_tests.evaluation.house import House, events, fitted

TITLE = "Evaluation of recommender version 1 on events before 2024-02-26"


@pytest.fixture
def running(settings: Settings) -> Iterator[Settings]:
    try:
        yield settings
    finally:
        stack.stop(settings)


def test_each_link_of_the_report_opens_and_the_page_says_which_model_it_is_about(running: Settings) -> None:
    house = House(running)
    house.register(fitted(events()))
    with dg.DagsterInstance.ephemeral() as instance:
        made = house.materialize(instance).asset_materializations_for_node("evaluation_report")[0].metadata
    stack.start(running, (COLLECTOR, MLFLOW))

    page = httpx.get(str(made["report"].value), timeout=60, trust_env=False)
    assert page.status_code == 200
    assert f"<title>{TITLE}" in page.text
    assert f"<h1>{TITLE}" in page.text

    server, _, place = str(made["report_in_mlflow"].value).partition("/#/")
    _, _, _, run_id, _, *path = place.split("/")
    assert server == f"http://127.0.0.1:{running.serving.mlflow_port}"
    kept = httpx.get(
        f"{server}/get-artifact",
        params={"path": unquote("/".join(path)), "run_uuid": run_id},
        timeout=60,
        trust_env=False,
    )
    assert kept.content == page.content
    assert httpx.get(f"{server}/", timeout=60, trust_env=False).status_code == 200
