"""The commands of README and docs that need a running stack, given to a shell on the home of the story.

Here: what they answer. Not here: `make down` (test_stopping.py), the recipe for CI (house.py), what needs no stack.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recsys_assets_tests.journeys.dagster_api import DagsterApi
from recsys_assets_tests.journeys.house import Story
from recsys_assets_tests.pages.blocks import REPOSITORY
from recsys_assets_tests.pages.plan import WITH_A_STACK
from recsys_assets_tests.pages.reading import give, missing, planned

pytestmark = [pytest.mark.slow]
# Installing is what whoever runs these tests has done; 20,000 users would come for minutes.
HERE = {"make up": "make -o install up", "make traffic": "make -o install traffic RATE=20 USERS=20"}


def said(story: Story, command: str, *, folder: Path = REPOSITORY, code: int = 0) -> str:
    told = give(command, folder=folder, **story.settings.environment())
    assert told.returncode == code, told
    return told.stdout


@pytest.mark.parametrize("begins", ["make help", "make up", "make traffic"])
def test_a_task_of_the_readme_runs(story: Story, running: DagsterApi, begins: str) -> None:
    given = {command.text.partition("#")[0].strip() for command in planned(WITH_A_STACK, "README.md")}
    assert begins in given
    told = said(story, HERE.get(begins, begins))
    wanted = {"make help": "make demo", "make up": running.url, "make traffic": "20"}
    assert wanted[begins] in told


def test_the_commands_of_the_page_of_drills_answer(story: Story, running: DagsterApi) -> None:
    up, report = planned(WITH_A_STACK, "docs/drills.md")
    assert running.url in said(story, up.text)
    assert said(story, report.text, code=1).startswith("INCONCLUSIVE: no drill was played yet")


@pytest.fixture
def tampered(story: Story, tmp_path: Path) -> Path:
    """A folder as the page assumes it: a bundle in which one letter was changed, and a home that has the keys."""
    shutil.copytree(story.settings.path("bundles", "2"), tmp_path / "bundles" / "2")
    shutil.copytree(story.settings.path("keys"), tmp_path / ".recsys" / "keys")
    file = tmp_path / "bundles" / "2" / "ranker.0.txt"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("tree", "treE", 1), encoding="utf-8")
    return tmp_path


def test_a_bundle_with_one_changed_letter_is_refused_as_the_page_shows(story: Story, tampered: Path) -> None:
    start, code = planned(WITH_A_STACK, "docs/serving.md")
    told = give(f"{start.text}\n{code.text}", folder=tampered)
    shown = f"{start.shown}\n{code.shown}"
    assert missing(shown, told.stdout, same={'"bundles/2': f'"{tampered}/bundles/2'}) == [], told.stdout
