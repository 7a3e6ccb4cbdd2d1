"""An approval asked for and given in Dagster's own UI, by clicking, while no daemon runs.

Here: what a person sees, types and gets. Not here: the refusals (rollout/test_asking.py), or the hands (launchpad.py).
"""

from __future__ import annotations

import os
import shutil

import pytest

from recsys_assets import home
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.settings import Settings
from recsys_assets_tests.journeys import launchpad
from recsys_assets_tests.journeys.chromium import chromium
from recsys_assets_tests.waiting import eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no `chromium` on the PATH: the UI cannot be opened"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no `chromedriver`: the browser cannot be driven"),
]


def test_a_release_is_approved_in_the_launchpad_by_a_person_who_gives_a_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.prepare(settings)
    for name, value in (os.environ | home.environment(settings)).items():
        monkeypatch.setenv(name, value)
    launchpad.let_it_wait(settings)
    ledger = Ledger(settings.path("ledger.db"))
    with launchpad.webserver(settings), chromium(*launchpad.WINDOW) as driver:
        launchpad.follow_the_question(driver, settings)
        eventually(lambda: not launchpad.can_launch(driver), what="a config without a name is refused")
        launchpad.fill_in(driver, who="ann", why="looked at the slices")
        launchpad.launch(driver)
        eventually(lambda: ledger.approved(launchpad.RELEASE), what="the approval in the ledger")
    told = [(e.actor, e.body["reason"], e.body["asked"]) for e in ledger.events() if e.kind == "approved"]
    assert told == [("ann", "looked at the slices", True)]
