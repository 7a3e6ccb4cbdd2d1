"""Takes the pictures of the README from a running `make up` after `make demo`, with headless Chromium.

Here: which pages, and waiting until they are drawn. Run it from the project's root, with the environment's Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from recsys_assets.rollout.ledger import Ledger
from recsys_assets.settings import Settings, load_settings
from recsys_assets_tests.journeys.chromium import chromium

PICTURES = Path(__file__).parent / "pictures"


def opened(driver: WebDriver, url: str, *, until: str) -> None:
    """Open a page and wait until the text `until` stands in it."""
    driver.get(url)
    WebDriverWait(driver, 60).until(lambda d: until in d.find_element(By.TAG_NAME, "body").text)


def keep(driver: WebDriver, name: str) -> None:
    """Save the picture once it has stopped changing: three looks, three seconds apart, see the same."""
    looks = [b"", b"first"]

    def unchanged(d: WebDriver) -> bool:
        looks.append(d.get_screenshot_as_png())
        return looks[-1] == looks[-2] == looks[-3]

    WebDriverWait(driver, 90, poll_frequency=3).until(unchanged)
    (PICTURES / f"{name}.png").write_bytes(looks[-1])


def lineage(driver: WebDriver, ui: str) -> None:
    """The whole graph with its groups opened (Alt+E opens them all)."""
    opened(driver, f"{ui}/asset-groups", until="training")
    ActionChains(driver).key_down(Keys.ALT).send_keys("e").key_up(Keys.ALT).perform()
    WebDriverWait(driver, 30).until(lambda d: d.find_elements(By.XPATH, "//*[text()='ranker_model']"))
    keep(driver, "lineage")


def when_rolled_back(settings: Settings, check: str) -> int:
    """The moment, in milliseconds, at which a canary was rolled back by this check."""
    events = Ledger(settings.path("ledger.db")).events()
    end = next(e for e in events if e.kind == "rolled_back" and check in str(e.body["reason"]))
    return round(end.at.timestamp() * 1000)


def plot(driver: WebDriver, page: str, number: int, name: str) -> None:
    """A plot in an asset's metadata, opened as a person opens it."""
    opened(driver, page, until="Show Markdown")
    link = driver.find_elements(By.XPATH, "//*[contains(text(), 'Show Markdown')]")[number]
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", link)
    WebDriverWait(driver, 30).until(
        lambda d: any(int(i.get_attribute("naturalWidth") or 0) > 300 for i in d.find_elements(By.TAG_NAME, "img"))
    )
    keep(driver, name)


def main() -> int:
    settings: Settings = load_settings()
    ui = f"http://{settings.serving.host}:{settings.serving.dagster_port}"
    with chromium(1900, 1100) as driver:
        lineage(driver, ui)
    with chromium(1400, 1000) as driver:
        at = when_rolled_back(settings, "canary_is_not_worse") + 5_000
        plot(driver, f"{ui}/assets/canary?view=events&asOf={at}", 0, "canary")
        opened(driver, f"{ui}/assets/evaluation_report?view=checks", until="no_slice_lost")
        keep(driver, "checks")
    with chromium(1280, 1150) as driver:
        opened(driver, settings.path("reports", "2", "evaluation.html").as_uri(), until="Verdicts")
        keep(driver, "report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
