"""The town's house: the story played in one home, the stack that runs on it, and ways to ask both.

Here: playing, polling and asking. Not here: the town (town.py), or any claim.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import httpx
import polars as pl
import psutil
import yaml
from rich.console import Console

from recsys_assets import home
from recsys_assets.demo.poison import poison
from recsys_assets.demo.stage import JobOutcome, Stage
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.settings import Settings, load_settings
from recsys_assets_tests.journeys import town
from recsys_assets_tests.pages.plan import STORY
from recsys_assets_tests.pages.reading import active, give, planned
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

_T = TypeVar("_T")
ASKING_USER = town.user_id(1)


@dataclass(frozen=True)
class Headless:
    """What a job in a shell of its own left behind: exit code and everything it said."""

    settings: Settings
    exit_code: int
    output: str


@dataclass(frozen=True)
class Poisoned:
    """A day file that broke the contract: the run that refused it, and what was stored and trained just after."""

    day: date
    run: JobOutcome
    rows_stored: int
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """Everything that happened in the home: a first release from the shell, a poisoned day, a challenger.

    `corrupt` was the same first release in a copy of the home, with shuffled labels."""

    stage: Stage
    first: Headless
    corrupt: Headless
    poisoned: Poisoned
    second: JobOutcome
    answer: Mapping[str, Any]

    @property
    def settings(self) -> Settings:
        return self.stage.settings

    @property
    def tables(self) -> TablesResource:
        return TablesResource(root=str(self.settings.path("tables")))

    @property
    def registry(self) -> ModelRegistryResource:
        return ModelRegistryResource(home=str(self.settings.home), model_name=self.settings.model_name)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.path("ledger.db"))

    def metadata(self, asset: str, run_id: str) -> Mapping[str, Any]:
        """Metadata values of the asset's materialization in this run."""
        import dagster as dg

        found = self.stage.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [m for entry in found if (m := entry.asset_materialization) and m.asset_key == dg.AssetKey(asset)]
        return {name: value.value for name, value in made[-1].metadata.items()}


def play(settings: Settings) -> Story:
    """Play the story from its beginning. The process must already work on the home."""
    stage = Stage(settings, Console(quiet=True))
    town.land_catalogue(settings.home)
    town.write_future(settings.home)
    town.land(settings.home, *town.days(town.START, town.FIRST_AS_OF))
    first, corrupt = _two_first_releases(settings)
    poisoned = _poisoned_day(stage, town.FIRST_AS_OF)
    _ingest(stage, town.FIRST_AS_OF, town.SECOND_AS_OF)
    second = stage.run_job("release")
    answer = eventually(lambda: _full(ask(settings)), what="an answer of the full model")
    return Story(stage, first, corrupt, poisoned, second, answer)


def _ingest(stage: Stage, first: date, end: date) -> None:
    days = town.days(first, end)
    town.land(stage.settings.home, *days)
    _require(stage.run_job("ingest", days=days))


def _require(outcome: JobOutcome) -> None:
    assert outcome.success, outcome


def _two_first_releases(settings: Settings) -> tuple[Headless, Headless]:
    """A good one, and beside it one with shuffled labels in a copy of the home: a machine has more than one core."""
    make_home, *take_in, release = recipe()
    told = give("\n".join(["set -e", make_home, *take_in]), folder=settings.home.parent, **settings.environment())
    assert told.returncode == 0, told.stdout[-3_000:]
    twin = load_settings(home=settings.home.with_name("twin"), config=settings.config_file)
    shutil.copytree(settings.home, twin.home)
    good = _start(settings, "release", ["bash", "-c", f"{make_home}\n{release}"])
    bad = start_headless(twin, "release", {"ops": {"ranker_model": {"config": {"drill": "corrupt_labels"}}}})
    return good(), bad()


def recipe() -> list[str]:
    """What README gives for CI, as it is printed. It ends with the release, as the example of own data does."""
    own, *ci = [command.text for command in planned(STORY, "README.md")]
    assert own.partition("#")[0].strip() == ci[-1]
    return ci


def _poisoned_day(stage: Stage, day: date) -> Poisoned:
    poison(town.land(stage.settings.home, day))
    run = stage.run_job("ingest", days=[day])
    tables = TablesResource(root=str(stage.settings.path("tables")))
    stored = tables.read("interactions").filter(pl.col("day") == day).height
    registry = ModelRegistryResource(home=str(stage.settings.home), model_name=stage.settings.model_name)
    return Poisoned(day, run, stored, tuple(model.version for model in registry.versions()))


def start_headless(settings: Settings, job: str, run_config: Mapping[str, Any]) -> Callable[[], Headless]:
    """Start `dagster job execute` as CI would, in a folder that has nothing to do with the project; call to wait."""
    config = settings.home.parent / f"{settings.home.name}-{job}.yaml"
    config.write_text(yaml.safe_dump(dict(run_config)), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("dagster")), "job", "execute"]
    return _start(settings, job, [*command, "-m", "recsys_assets.definitions", "-j", job, "-c", str(config)])


def _start(settings: Settings, name: str, command: list[str]) -> Callable[[], Headless]:
    folder = settings.home.parent
    said = folder / f"{settings.home.name}-{name}.log"
    with said.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=active(**home.environment(settings)), stdout=output, stderr=subprocess.STDOUT
        )

    def wait() -> Headless:
        try:
            code = child.wait(HANG_SECONDS)
        finally:
            child.kill()
        return Headless(settings, code, said.read_text(encoding="utf-8", errors="replace"))

    return wait


def ask(settings: Settings, user: str = ASKING_USER) -> Mapping[str, Any]:
    """One prediction, through the gateway."""
    serving = settings.serving
    url = f"http://{serving.host}:{serving.gateway_port}/v1/models/{settings.model_name}:predict"
    body = {"instances": [{"user_id": user, "k": 5}]}
    response = httpx.post(url, json=body, headers={"x-user-id": "a-visitor"}, timeout=HANG_SECONDS)
    response.raise_for_status()
    prediction: Mapping[str, Any] = response.json()["predictions"][0]
    return prediction


def _full(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return answer if answer["rung"] == "full" else None


def processes_of(settings: Settings) -> list[str]:
    """Command lines of all living processes that work on this home, but this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("RECSYS_HOME") == str(settings.home):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # it ended meanwhile, or belongs to somebody else
    return found
