"""The Dagster UI in a real browser: the graph is there, and an asset can be made by clicking.

Here: what a person sees and does. Not here: what the sensors do meanwhile.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from recsys_assets.evaluation.check_names import check_names
from recsys_assets.rollout.words import LOCATION
from recsys_assets_tests.journeys.chromium import chromium
from recsys_assets_tests.journeys.dagster_api import DagsterApi, in_time
from recsys_assets_tests.journeys.house import Story
from recsys_assets_tests.journeys.pages import ROOMS, see
from recsys_assets_tests.waiting import HANG_SECONDS

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no `chromium` on the PATH: the UI cannot be opened"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no `chromedriver`: Chromium cannot be driven"),
]


@pytest.fixture(scope="module")
def browser(running: DagsterApi) -> Iterator[WebDriver]:
    with chromium(1600, 1200) as driver:
        yield driver


def click(browser: WebDriver, label: str) -> None:
    """Click the button with this label; the page may draw it again meanwhile."""
    from selenium.common.exceptions import (
        ElementNotInteractableException,
        NoSuchElementException,
        StaleElementReferenceException,
    )
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    def clicked(page: WebDriver) -> bool:
        found = page.find_element(By.XPATH, f"//button[normalize-space(.)='{label}']")
        if not found.is_enabled():
            return False
        found.click()
        return True

    not_yet = [ElementNotInteractableException, NoSuchElementException, StaleElementReferenceException]
    WebDriverWait(browser, HANG_SECONDS, ignored_exceptions=not_yet).until(clicked)


def test_the_lineage_shows_every_room(running: DagsterApi, browser: WebDriver) -> None:
    browser.get(f"{running.url}/asset-groups")
    see(browser, set(ROOMS))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_rooms_graph_shows_its_assets(running: DagsterApi, browser: WebDriver, room: str) -> None:
    browser.get(f"{running.url}/locations/{LOCATION}/asset-groups/{room}")
    see(browser, ROOMS[room])


def test_there_is_no_asset_beside_those_of_the_rooms(running: DagsterApi) -> None:
    assert running.assets() == set().union(*ROOMS.values())


def test_the_page_of_the_report_shows_the_blocking_checks_by_name(
    story: Story, running: DagsterApi, browser: WebDriver
) -> None:
    browser.get(f"{running.url}/assets/evaluation_report?view=checks")
    see(browser, set(check_names(story.settings.gate.metric)))


def test_an_asset_is_materialized_by_clicking(running: DagsterApi, browser: WebDriver) -> None:
    before = set(running.runs_that_made("items"))
    browser.get(f"{running.url}/assets/items")
    click(browser, "Materialize")
    [made] = in_time(lambda: set(running.runs_that_made("items")) - before, what="items by a click")
    assert running.end_of(made)["status"] == "SUCCESS"


def test_the_clicked_run_is_told_as_a_success_on_the_runs_page(running: DagsterApi, browser: WebDriver) -> None:
    browser.get(f"{running.url}/runs")
    see(browser, {"Success", running.runs_that_made("items")[0][:8]})


def test_the_ui_loads_nothing_from_anywhere_else(running: DagsterApi, browser: WebDriver) -> None:
    browser.get(f"{running.url}/asset-groups")
    see(browser, set(ROOMS))
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert {url for url in loaded if url.startswith("http") and not url.startswith(running.url)} == set()
