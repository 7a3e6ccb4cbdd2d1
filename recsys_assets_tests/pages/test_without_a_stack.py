"""The commands of README and docs that need no running stack, in the order of the page, in a new home.

Here: a reader's own data, a broken configuration, a person's words, a webhook's secret. Not here: what needs a stack.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Phase
from recsys_assets.rollout.act import record
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.route import virtual_service
from recsys_assets_tests.pages.blocks import REPOSITORY, blocks
from recsys_assets_tests.pages.plan import WITHOUT_A_STACK
from recsys_assets_tests.pages.reading import give, missing, planned
from recsys_assets_tests.rollout.build import route

pytestmark = pytest.mark.slow


def own_config() -> str:
    """The recsys.yaml of README."""
    [text] = [block.text for block in blocks() if block.page == "README.md" and block.language == "yaml"]
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A reader's folder: the data that README shows, and the configuration that it gives."""
    for command in planned(WITHOUT_A_STACK, "README.md"):
        if head := re.fullmatch(r"head -\d (\S+)", command.text):
            file = tmp_path / head[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{command.shown}\n", encoding="utf-8")
    (tmp_path / "recsys.yaml").write_text(own_config(), encoding="utf-8")
    return tmp_path


def broken(config: str) -> str:
    """The reader's configuration with the four mistakes that README's last example speaks of."""
    raw = yaml.load(config, Loader=yaml.BaseLoader)
    raw["data"]["start_date"] = "2026-13-01"
    del raw["data"]["interactions"]["columns"]["event_time"]
    raw["data"]["items"]["attributes"]["title"]["kind"] = "string"
    raw["rollout"]["plan"]["margin"] = 5
    return str(yaml.safe_dump(raw, sort_keys=False))


def test_the_commands_of_the_readme_say_what_it_shows(folder: Path) -> None:
    (folder / "broken.yaml").write_text(broken(own_config()), encoding="utf-8")
    for command in planned(WITHOUT_A_STACK, "README.md"):
        told = give(command.text, folder=folder)
        assert told.returncode == (2 if "broken.yaml" in command.text else 0), told
        assert missing(command.shown, told.stdout) == [], told.stdout


def test_settings_that_contradict_each_other_are_told_as_the_page_shows(folder: Path) -> None:
    raw = yaml.load(own_config(), Loader=yaml.BaseLoader)
    raw["data"]["items"]["path"] = "gs://shop/items.csv"
    raw["serving"] = {"collector_port": 8080}
    (folder / "recsys.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    [command] = planned(WITHOUT_A_STACK, "docs/configuration.md")
    told = give(command.text, folder=folder)
    assert told.returncode == 2
    assert missing(command.shown, told.stdout) == [], told.stdout


def test_the_rows_that_the_readme_shows_are_taken_as_it_says(folder: Path) -> None:
    materialize = "dagster asset materialize -m recsys_assets.definitions"
    both = f"{materialize} --select interactions,items --partition 2026-03-01"
    told = give(f'eval "$(recsys-assets init)" && {both}', folder=folder)
    assert told.returncode == 0, told.stdout[-3_000:]
    import polars as pl

    rows = pl.read_delta(str(folder / ".recsys" / "tables" / "interactions"))
    assert rows["user_id"].sort().to_list() == ["0042", "0107"]
    items = pl.read_delta(str(folder / ".recsys" / "tables" / "items"))
    assert items["item_id"].to_list() == ["a-17"]
    assert items["topics"].to_list() == [["weather", "local"]]


def test_a_persons_words_are_answered_as_the_page_shows(tmp_path: Path) -> None:
    state = route(Phase.CANARY, 2, needs_approval=True)
    ManifestStore(tmp_path / "platform" / "manifests.db").apply(virtual_service(state), expected=ANY)
    record(Ledger(tmp_path / "ledger.db"), state)
    for command in planned(WITHOUT_A_STACK, "docs/people.md"):
        told = give(command.text, folder=tmp_path, RECSYS_HOME=str(tmp_path))
        refusal = command.shown.startswith("refused")
        assert told.returncode == (1 if refusal else 0), told
        assert missing(command.shown, told.stdout) == [], (command, told.stdout)


def test_a_clients_token_is_given_listed_and_taken_away(tmp_path: Path) -> None:
    three = planned(WITHOUT_A_STACK, "docs/feedback.md")
    token, names, gone = (give(each.text, folder=tmp_path, RECSYS_HOME=str(tmp_path)) for each in three)
    assert [each.returncode for each in (token, names, gone)] == [0, 0, 0], gone
    assert len(token.stdout.strip()) > 40
    assert (names.stdout, gone.stdout) == ("shop\n", "shop: revoked\n")


def test_a_webhooks_secret_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    [command] = planned(WITHOUT_A_STACK, "docs/notifications.md")
    told = give(command.text, folder=tmp_path)
    assert (told.returncode, told.stdout) == (0, "")
    secret = tmp_path / "webhook.secret"
    assert secret.read_text(encoding="utf-8").startswith("whsec_")
    assert secret.stat().st_mode & 0o777 == 0o600


def test_the_version_of_a_chart_is_read_as_the_page_says() -> None:
    [command] = planned(WITHOUT_A_STACK, "docs/kubernetes.md")
    told = give(f"{command.text}\nversion dagster", folder=REPOSITORY)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", told.stdout), told.stdout
