"""A release that waits for a person, Dagster's UI over it, and a person who approves it by hand in the launchpad.

Here: the house and the hands, for a test and for the picture in docs:
`python -m recsys_assets_tests.journeys.launchpad docs/pictures/approval.png`. Not here: any claim.
Only the webserver runs: no daemon, no gateway, no model server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import httpx

from recsys_assets import home
from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local.store import open_store
from recsys_assets.records import Phase
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.act import record
from recsys_assets.rollout.approval import ask
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.opening import open_desk
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import virtual_service
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings
from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.journeys.chromium import chromium
from recsys_assets_tests.rollout.build import route, world
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

RELEASE = "rel-2"
WINDOW = (1400, 900)


def let_it_wait(settings: Settings) -> None:
    """Put a release on the route that lacks nothing but an approval, and ask for it as the sensor does."""
    now = datetime.now(UTC)
    state = replace(
        route(Phase.CANARY, 2, needs_approval=True),
        transition=5,
        entered_at=now,
        lease=now + timedelta(hours=1),
        deadline=now + timedelta(hours=1),
        reason="312 visitors in the smaller arm and nothing against it",
    )
    open_store(settings).apply(virtual_service(state), expected=ANY)
    record(Ledger(settings.path("ledger.db")), state)
    registry = ModelRegistryResource(home=str(settings.home), model_name=settings.model_name)
    with dg.DagsterInstance.from_config(str(settings.path("dagster"))) as instance:
        desk = open_desk(settings, PlatformResource.from_settings(settings), registry, instance)
        ask(desk, state, decide(world(state), now), actor="canary_sensor", now=now)


@contextmanager
def webserver(settings: Settings) -> Iterator[None]:
    """Dagster's UI alone, until the end of the block."""
    serving = settings.serving
    command = [sys.executable, "-m", "dagster_webserver", "-m", "recsys_assets.definitions"]
    command += ["-h", serving.host, "-p", str(serving.dagster_port)]
    said = settings.path("webserver.log")
    with said.open("wb") as log:
        child = subprocess.Popen(
            command, env=os.environ | home.environment(settings), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: _answers(settings), what=f"the webserver, see {said}")
        yield
    finally:
        child.terminate()
        try:
            child.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _answers(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.ui_url}/server_info", timeout=5).is_success
    except httpx.TransportError:
        return False


def follow_the_question(driver: WebDriver, settings: Settings) -> None:
    """From the observation of `canary` to the launchpad, by its link, as a person does."""
    from selenium.webdriver.common.by import By

    driver.get(f"{settings.ui_url}/assets/canary?view=events")
    look = "//a[contains(@href, '/jobs/approve_release/playground/setup')]"
    links = eventually(lambda: driver.find_elements(By.XPATH, look), what="the question's link")
    driver.get(str(links[0].get_attribute("href")))
    wait_for(driver, f"release_id: {RELEASE}")


def fill_in(driver: WebDriver, *, who: str, why: str) -> None:
    """Type the name, which is wanted at the end of the text, and the reason, between the quotes above it."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver.find_element(By.CSS_SELECTOR, ".CodeMirror-scroll").click()
    keys = ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.END).key_up(Keys.CONTROL)
    keys.send_keys(f" {who}", Keys.UP, Keys.END, Keys.LEFT, why, Keys.DOWN, Keys.END).perform()


def can_launch(driver: WebDriver) -> bool:
    """Whether the launchpad would launch what stands in it."""
    from selenium.webdriver.common.by import By

    return any(b.is_enabled() for b in driver.find_elements(By.XPATH, "//button[contains(., 'Launch Run')]"))


def launch(driver: WebDriver) -> None:
    from selenium.webdriver.common.by import By

    eventually(lambda: can_launch(driver), what="a valid config")
    driver.find_element(By.XPATH, "//button[contains(., 'Launch Run')]").click()


def wait_for(driver: WebDriver, words: str) -> None:
    """Until these words stand on the page. A hard space in the editor is a space to a reader."""
    told = "return document.body.innerText"
    eventually(
        lambda: words in driver.execute_script(told).replace("\u00a0", " "),
        what=f"{words!r} on {driver.current_url}",
        every_seconds=0.2,
    )


def main() -> int:
    """Keep a picture of the launchpad as a person leaves it before the click, and click."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(home=Path(folder) / "home", config=PACKAGED_CONFIG)
        serving = settings.serving.model_copy(update={"dagster_port": free_ports(1)[0]})
        settings = settings.model_copy(update={"serving": serving})
        home.adopt(settings)
        let_it_wait(settings)
        with webserver(settings), chromium(*WINDOW) as driver:
            follow_the_question(driver, settings)
            fill_in(driver, who="ann", why="looked at the slices")
            eventually(lambda: can_launch(driver), what="a valid config")
            Path(sys.argv[1]).write_bytes(driver.get_screenshot_as_png())
            launch(driver)
            ledger = Ledger(settings.path("ledger.db"))
            eventually(lambda: ledger.approved(RELEASE), what="the approval")
    return 0


if __name__ == "__main__":
    sys.exit(main())
