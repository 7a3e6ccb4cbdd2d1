"""The ledger keeps every row, once, for good."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from recsys_assets.records import Phase
from recsys_assets.rollout.ledger import Audience, Ledger, Mark, open_ledger
from recsys_assets.rollout.ledger_book import LedgerUnavailable
from recsys_assets.settings import ConfigError, load_settings
from recsys_assets.store_settings import StoreSecrets, StoreSettings
from recsys_assets_tests.rollout.build import later


def write(ledger: Ledger, kind: str, key: str, release: str = "r1", **body: Any) -> bool:
    full = {"version": "2", "digest": "d2", "phase": kind, "weight_bp": 0, "reason": "because"} | body
    return ledger.append(kind, release_id=release, actor="me", at=later(1), key=key, body=full)


def test_a_key_counts_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    assert write(ledger, "opened", "r1/0", phase="gated")
    assert not write(ledger, "opened", "r1/0", phase="gated")
    assert len(ledger.events()) == 1


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'x'", "DELETE FROM events"])
def test_a_row_can_be_neither_changed_nor_removed(tmp_path: Path, statement: str) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "opened", "r1/0", phase="gated")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), sqlite3.connect(tmp_path / "l.db") as db:
        db.execute(statement)
    assert ledger.events()[0].actor == "me"


def test_reading_a_ledger_that_is_not_there_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "l.db").releases() == []
    assert list(tmp_path.iterdir()) == []


def test_a_release_stands_where_its_latest_phase_row_says(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "opened", "r1/0", phase="gated")
    write(ledger, "canary", "r1/1", weight_bp=1_000)
    write(ledger, "waiting", "r1/1/waiting/x")
    (row,) = ledger.releases()
    assert (row.phase, row.weight_bp, row.version) == (Phase.CANARY, 1_000, "2")


def test_a_release_that_never_opened_is_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "canary", "r1/1", weight_bp=1_000)
    assert ledger.releases() == []


def test_a_digest_is_denied_from_its_roll_back_until_an_override(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "opened", "r1/0", phase="gated")
    write(ledger, "rolled_back", "r1/1")
    assert ledger.denied(later(2)) == {"d2": "r1"}
    write(ledger, "override", "o/1")
    assert ledger.denied(later(2)) == {}
    assert len(ledger.overrides()) == 1
    write(ledger, "rolled_back", "r2/1", release="r2")
    assert ledger.denied(later(2)) == {"d2": "r2"}


def test_a_version_is_promoted_only_by_its_latest_release_and_digest(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "opened", "r1/0", phase="gated")
    assert not ledger.promoted("2", "d2")
    write(ledger, "champion", "r1/1")
    assert ledger.promoted("2", "d2")
    assert not ledger.promoted("2", "other")
    write(ledger, "opened", "r2/0", release="r2", phase="gated")
    assert not ledger.promoted("2", "d2")


def test_who_saw_what_is_read_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "opened", "r1/0", phase="gated")
    write(ledger, "audience", "r1/audience", variants=[{"variant": "canary", "visitors": 7, "seconds": 1.5}])
    assert ledger.audience("r1") == [Audience("canary", 7, 1.5)]
    assert ledger.audience("r2") == []


def test_marks_are_read_back_and_nothing_else_is_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    write(ledger, "opened", "r1/0", phase="gated")
    span = {"since": later(1).isoformat(), "until": later(9).isoformat()}
    write(ledger, "exposures_marked", "r1/marked", model_version="2", **span)
    assert ledger.marks() == [Mark("r1", "2", later(1), later(9))]


def test_rows_are_numbered_and_read_on_from_a_number(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db")
    assert ledger.last_seq() == 0
    for number in (1, 2):
        write(ledger, "waiting", f"r1/{number}")
    assert ledger.last_seq() == 2
    assert [event.key for event in ledger.after(1)] == ["r1/2"]


def test_the_settings_say_where_the_ledger_is_and_one_without_its_address_is_refused(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert write(open_ledger(settings), "opened", "r1/0", phase="gated")
    assert settings.path("ledger.db").exists()
    named = settings.model_copy(update={"stores": StoreSettings(ledger_url_env="RECSYS_LEDGER_URL")})
    with pytest.raises(ConfigError, match="RECSYS_LEDGER_URL"):
        open_ledger(named)
    at_nobodys = StoreSecrets(ledger_url=SecretStr("postgresql://me@127.0.0.1:9/ledger"))
    with pytest.raises(LedgerUnavailable):
        open_ledger(named.model_copy(update={"secrets": at_nobodys})).events()
