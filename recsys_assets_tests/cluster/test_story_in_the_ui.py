"""The Dagster UI of the installed chart in a real browser, after the story: the same graph as on one machine.

Here: what a person sees. Not here: what happened (test_story.py). Pictures go where `--pictures` says.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recsys_assets.rollout.words import LOCATION
from recsys_assets_tests.cluster.dagster_runs import url
from recsys_assets_tests.cluster.installed import Installed
from recsys_assets_tests.journeys.chromium import chromium
from recsys_assets_tests.journeys.pages import ROOMS, lines, see
from recsys_assets_tests.waiting import eventually

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no `chromium` on the PATH: the UI cannot be opened"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no `chromedriver`: Chromium cannot be driven"),
]


@pytest.fixture(scope="module")
def browser(dagster: Installed) -> Iterator[WebDriver]:
    with chromium(1600, 1000) as driver:
        yield driver


def keep(browser: WebDriver, request: pytest.FixtureRequest, name: str) -> None:
    """A picture of the page once all of it is there, where pictures are wanted."""
    if folder := request.config.getoption("--pictures"):
        eventually(lambda: "Loading..." not in lines(browser), what=f"all of {name}")
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_the_lineage_shows_every_room(dagster: Installed, browser: WebDriver, request: pytest.FixtureRequest) -> None:
    browser.get(f"{url(dagster)}/asset-groups")
    see(browser, set(ROOMS))
    keep(browser, request, "kubernetes_lineage")


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_rooms_graph_shows_its_assets(
    dagster: Installed, browser: WebDriver, request: pytest.FixtureRequest, room: str
) -> None:
    browser.get(f"{url(dagster)}/locations/{LOCATION}/asset-groups/{room}")
    see(browser, ROOMS[room])
    keep(browser, request, f"kubernetes_{room}")
