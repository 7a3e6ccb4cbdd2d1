"""Pages of the Dagster UI, wherever it runs: what a person reads on them, and what each room's graph must show.

Here: reading. Not here: starting a browser (chromium.py), or any claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsys_assets_tests.waiting import eventually

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

ROOMS = {
    "interactions": {"interactions", "items", "users"},
    "features": {"user_features", "item_features", "online_features"},
    "training": {"training_rows", "candidate_index", "hyperparameters", "ranker_model"},
    "evaluation": {"evaluation_report", "drift_report"},
    "serving": {"challenger_service", "exposures", "feedback"},
    "rollout": {"shadow_comparison", "canary", "champion", "exposure_marks", "drill_report"},
}


def lines(browser: WebDriver) -> set[str]:
    """What the page says, line by line."""
    text = browser.execute_script("return document.body.innerText")
    return {line.strip() for line in text.splitlines()}


def see(browser: WebDriver, words: set[str]) -> None:
    """Wait until each of these stands on the page as a line of its own."""
    # A look lays the page out again, and takes that time from the page.
    eventually(lambda: words <= lines(browser), what=f"{sorted(words)} on {browser.current_url}", every_seconds=0.2)
