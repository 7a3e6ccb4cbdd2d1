"""The commands of README and docs that need a running stack, given to a shell on the home of the story.

Here: what they answer. Not here: `make down` (test_stopping.py), the recipe for CI (house.py), what needs no stack.
"""

from __future__ import annotations

import json
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="no `curl` on the path")
@pytest.mark.parametrize("page", ["docs/serving.md", "docs/kubernetes.md"])
def test_what_a_page_sends_with_curl_is_answered(story: Story, running: DagsterApi, page: str) -> None:
    serving = story.settings.serving
    for command in planned(WITH_A_STACK, page):
        if not command.text.startswith("curl"):
            continue
        text = command.text.replace("127.0.0.1:8080", f"{serving.host}:{serving.gateway_port}")
        told = said(story, text.replace("models/films", f"models/{story.settings.model_name}"))
        answer = json.loads(told[told.index("{") :])
        if "feedback" in command.text:
            assert answer == json.loads(command.shown)
        else:
            assert answer["predictions"][0]["items"]
            head = command.shown.partition("\n")[0]
            assert missing(head, told) == []


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
    start, code = [each for each in planned(WITH_A_STACK, "docs/serving.md") if not each.text.startswith("curl")]
    told = give(f"{start.text}\n{code.text}", folder=tampered)
    assert missing(f"{start.shown}\n{code.shown}", told.stdout) == [], told.stdout
