"""The release commands: what they print and how they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Phase
from recsys_assets.rollout.act import record
from recsys_assets.rollout.cli import app
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.route import virtual_service
from recsys_assets_tests.rollout.build import route


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def standing(home: Path, phase: Phase) -> None:
    state = replace(route(phase), transition=3, reason="because of the test")
    ManifestStore(home / "platform" / "manifests.db").apply(virtual_service(state), expected=ANY)
    record(Ledger(home / "ledger.db"), state)


def test_status_without_a_release_says_so_and_makes_nothing(home: Path) -> None:
    told = CliRunner().invoke(app, ["status"])
    assert told.exit_code == 0
    assert "no release yet" in told.output
    assert list(home.iterdir()) == []


def test_status_and_show_tell_where_a_release_stands_and_why(home: Path) -> None:
    standing(home, Phase.CANARY)
    for command in (["status"], ["show", "rel-2"]):
        told = CliRunner().invoke(app, command)
        assert told.exit_code == 0, told.output
        assert "10 %" in told.output
        assert "because of the test" in told.output


def test_a_word_is_taken_and_kept_with_its_name(home: Path) -> None:
    standing(home, Phase.CANARY)
    told = CliRunner().invoke(app, ["approve", "rel-2", "--who", "ann", "--why", "looked at it"])
    assert told.exit_code == 0, told.output
    assert Ledger(home / "ledger.db").approved("rel-2")


@pytest.mark.parametrize(
    "command",
    [
        ["show", "nothing"],
        ["approve", "nothing"],
        ["rollback", "nothing", "--why", "x"],
        ["override", "abc", "--why", "x"],
    ],
)
def test_what_cannot_be_done_is_refused_with_exit_code_one(home: Path, command: list[str]) -> None:
    assert CliRunner().invoke(app, command).exit_code == 1
