"""The jobs as CI runs them: in a shell of their own, without UI or daemon, told by exit code and output.

Here: claims about `dagster job execute` and the loading of definitions. Not here: what a release does inside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_assets import home
from recsys_assets.records import Outcome
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.settings import load_settings
from recsys_assets_tests.journeys import town
from recsys_assets_tests.journeys.house import Story
from recsys_assets_tests.waiting import HANG_SECONDS

slow = [pytest.mark.slow, pytest.mark.timeout(3_600)]
HEAVY = (
    "deltalake",
    "duckdb",
    "evidently",
    "fastapi",
    "feast",
    "implicit",
    "lightgbm",
    "matplotlib",
    "mlflow",
    "pandas",
    "scipy",
    "sklearn",
)
# Every attempt to reach a name or an address ends the process with its name.
LOADING = f"""
import json, sys
def refuse(event, args):
    if event in {{"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}}:
        raise SystemExit(f"{{event}} {{args}}")
sys.addaudithook(refuse)
import recsys_assets.definitions
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))
"""


class TestAReleaseInAShell:
    pytestmark = slow

    def test_a_good_model_ends_with_exit_code_0_and_as_champion(self, story: Story) -> None:
        assert story.first.exit_code == 0, story.first.output[-3_000:]
        [first, *_] = story.ledger.releases()
        assert (first.version, first.phase) == ("1", "champion")

    def test_a_model_of_shuffled_labels_ends_red_and_names_the_check(self, story: Story) -> None:
        said = story.corrupt.output
        assert story.corrupt.exit_code != 0
        assert "blocking asset check" in said
        assert "evaluation_report: ndcg_at_10_not_below_recent_popularity" in said

    def test_the_shuffled_model_was_judged_and_neither_deployed_nor_released(self, story: Story) -> None:
        twin = story.corrupt.settings
        registry = ModelRegistryResource(home=str(twin.home), model_name=twin.model_name)
        verdict = registry.read_verdict("1", "evaluation_report")
        assert verdict is not None
        assert verdict.outcome is Outcome.FAIL
        assert registry.champion() is None
        assert Ledger(twin.path("ledger.db")).releases() == []
        assert not twin.path("platform").exists()


def test_definitions_load_without_network_files_and_heavy_libraries(tmp_path: Path) -> None:
    config = town.make_settings(tmp_path).config_file
    settings = load_settings(home=tmp_path / "untouched", config=config)
    variables = {k: v for k, v in home.environment(settings).items() if k != "DAGSTER_HOME"}
    outside = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    loaded = subprocess.run(
        [sys.executable, "-c", LOADING],
        cwd=workplace,
        env=outside | variables,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == []
    assert not settings.home.exists()
    assert list(workplace.iterdir()) == []
