"""Takes the pictures of the README from a running `make up` after `make demo`, with headless Chromium.

Here: which pages, and waiting until they are drawn. Run it from the project's root, with the environment's Python.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from recsys_assets.settings import Settings, load_settings

PICTURES = Path(__file__).parent / "pictures"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


@contextmanager
def browser(width: int, height: int) -> Iterator[WebDriver]:
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        # Named, so that Selenium does not look for a driver on the web.
        driver = webdriver.Chrome(options=options, service=Service(executable_path=shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def take(driver: WebDriver, url: str, name: str, *, until: str) -> None:
    """Open a page, wait until the text `until` stands in it, and keep the picture."""
    driver.get(url)
    WebDriverWait(driver, 60).until(lambda d: until in d.find_element(By.TAG_NAME, "body").text)
    WebDriverWait(driver, 30).until(lambda d: not d.find_elements(By.CSS_SELECTOR, "[class*='Spinner']"))
    driver.save_screenshot(str(PICTURES / f"{name}.png"))


def main() -> int:
    settings: Settings = load_settings()
    ui = f"http://{settings.serving.host}:{settings.serving.dagster_port}"
    report = max(settings.path("reports").glob("*/evaluation.html"), key=lambda path: path.stat().st_mtime)
    with browser(1900, 1000) as driver:
        take(driver, f"{ui}/asset-groups", "lineage", until="ranker_model")
    with browser(1500, 1500) as driver:
        take(driver, f"{ui}/assets/canary?view=overview", "canary", until="engagement")
        take(driver, f"{ui}/assets/evaluation_report?view=checks", "checks", until="ndcg_at_10_not_below_champion")
    with browser(1300, 1000) as driver:
        take(driver, report.as_uri(), "report", until="NDCG")
    return 0


if __name__ == "__main__":
    sys.exit(main())
