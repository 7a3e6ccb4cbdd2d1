"""The release commands: what they print and how they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys_assets.cli import app
from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.route import RouteState, virtual_service
from recsys_assets_tests.rollout.build import later, route, verdict


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def say(*words: str, code: int = 0) -> str:
    told = CliRunner().invoke(app, words)
    assert told.exit_code == code, told.output
    return told.output


def stand(home: Path, phase: Phase, step: int = 0, reason: str = "because of the test") -> None:
    state = replace(route(phase, step, needs_approval=True), transition=3, reason=reason)
    ManifestStore(home / "platform" / "manifests.db").apply(virtual_service(state), expected=ANY)
    record(Ledger(home / "ledger.db"), state)


def on_the_route(home: Path) -> RouteState:
    found = read_state(ManifestStore(home / "platform" / "manifests.db"), "recommender")
    assert found is not None
    return found


def row(home: Path, kind: str, **body: object) -> None:
    Ledger(home / "ledger.db").append(
        kind, release_id="rel-2", actor="canary_sensor", at=later(9), key=f"rel-2/{kind}", body=body
    )


def test_status_without_a_release_says_so_and_makes_nothing(home: Path) -> None:
    assert "no release yet" in say("status")
    assert list(home.iterdir()) == []


def test_status_names_files_of_interactions_that_were_not_read(home: Path) -> None:
    seen = {"at": "2024-01-01T10:00:00+00:00", "files": 1, "words": ["NOT READ log.csv: unreadable: UTF-16"]}
    (home / "intake.json").write_text(json.dumps(seen))
    told = say("status")
    assert "interactions, since 2024-01-01T10:00:" in told
    assert "  NOT READ log.csv: unreadable: UTF-16" in told


@pytest.mark.parametrize("command", [("status",), ("show", "rel-2")])
def test_status_and_show_tell_where_a_release_is_and_what_it_waits_for_now(
    home: Path, command: tuple[str, ...]
) -> None:
    stand(home, Phase.CANARY)
    told = say(*command)
    assert "10 %" in told
    assert "frozen, call a person: stable recommender-v1 is not ready (absent)" in told


@pytest.mark.parametrize("command", [("status",), ("show", "rel-2")])
def test_a_reason_with_brackets_in_it_is_printed_as_it_is(home: Path, command: tuple[str, ...]) -> None:
    stand(home, Phase.ROLLED_BACK, reason="[red]odd[/nothing]")
    assert "[red]odd[/nothing]" in say(*command)


def test_show_tells_what_was_promised_and_the_verdicts_of_this_moment(home: Path) -> None:
    stand(home, Phase.CANARY)
    old = verdict("canary_is_not_slower").model_dump(mode="json")
    row(home, "waiting", verdicts=[old])
    told = " ".join(say("show", "rel-2").split())
    assert "version 2 asks to follow 1" in told
    assert "metric engagement what is compared" in told
    assert "margin 0.1 the largest loss" in told
    assert "alpha 0.05 the error rate" in told
    assert "steps_bp 10 %, 25 %, 50 % the canary's shares" in told
    assert "needs_approval yes whether a person" in told
    assert "INCONCLUSIVE canary_is_not_slower no user has been sent to the canary yet" in told


def test_show_tells_the_verdicts_that_ended_a_release(home: Path) -> None:
    stand(home, Phase.ROLLED_BACK)
    row(home, "rolled_back", verdicts=[verdict("canary_is_not_slower", Outcome.FAIL).model_dump(mode="json")])
    assert "FAIL     canary_is_not_slower  canary_is_not_slower is FAIL" in say("show", "rel-2")


def test_status_asks_for_an_approval_with_the_command_that_gives_it(home: Path) -> None:
    stand(home, Phase.CANARY, 2)
    assert "approve" not in say("status")
    row(home, "approval_asked")
    told = say("status")
    assert "rel-2 waits for a person's approval" in told
    assert "recsys-assets approve rel-2 --why" in told
    assert "/jobs/approve_release/playground/setup?config=" in told
    say("approve", "rel-2", "--who", "ann", "--why", "looked at it")
    assert "approve" not in say("status")


def test_status_says_who_paused_and_how_to_resume(home: Path) -> None:
    stand(home, Phase.CANARY)
    say("pause", "rel-2", "--who", "ann", "--why", "a big sale")
    told = say("status")
    assert "rel-2 is paused by ann since " in told
    assert "a big sale" in told
    assert "recsys-assets resume rel-2 --why" in told
    say("resume", "rel-2", "--who", "bob", "--why", "it is over")
    assert "paused" not in say("status")


def test_status_calls_a_person_to_a_frozen_release_until_it_moves(home: Path) -> None:
    stand(home, Phase.CANARY)
    row(home, "frozen", reason="call a person")
    assert "rel-2 is frozen since 2026-01-01T00:00:09+00:00:" in say("status")
    say("rollback", "rel-2", "--who", "ann", "--why", "better none")
    assert "frozen" not in say("status")


@pytest.mark.parametrize(
    ("command", "kind"),
    [("approve", "approved"), ("pause", "paused"), ("rollback", "rolled_back")],
)
def test_a_word_is_taken_and_kept_with_its_name(home: Path, command: str, kind: str) -> None:
    stand(home, Phase.CANARY)
    say(command, "rel-2", "--who", "ann", "--why", "looked at it")
    (kept,) = [e for e in Ledger(home / "ledger.db").events("rel-2") if e.kind == kind]
    assert kept.actor == "ann"
    assert "looked at it" in kept.body["reason"]


def test_without_a_name_the_systems_user_says_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "cecil")
    stand(home, Phase.CANARY)
    say("pause", "rel-2", "--why", "a big sale")
    assert on_the_route(home).pauses[0].who == "cecil"


def test_an_override_says_until_when(home: Path) -> None:
    Ledger(home / "ledger.db").append(
        "rolled_back", release_id="rel-1", actor="guard", at=later(0), key="rel-1/4", body={"digest": "abcd"}
    )
    told = say("override", "ab", "--who", "ann", "--why", "the store was down", "--expires", "3d")
    assert "abcd may be released until 2" in told
    assert "overridden already" in say("override", "ab", "--who", "ann", "--why", "again", code=1)


@pytest.mark.parametrize(
    ("command", "why_not"),
    [
        (["show", "nothing"], "no release nothing"),
        (["approve", "nothing"], "not the release on the route"),
        (["pause", "nothing", "--why", "x"], "not the release on the route"),
        (["resume", "nothing", "--why", "x"], "not the release on the route"),
        (["resume", "rel-2", "--why", "x"], "is not paused"),
        (["rollback", "nothing", "--why", "x"], "not the release on the route"),
        (["rollback", "rel-2", "--why", " "], "a reason is needed"),
        (["rollback", "rel-2", "--why", "x", "--who", ""], "who says so"),
        (["override", "abc", "--why", "x"], "0 rolled-back digests"),
        (["override", "abc", "--why", "x", "--expires", "31d"], "30 days at the most"),
        (["override", "abc", "--why", "x", "--expires", "soon"], "90m, 24h or 3d"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_with_exit_code_one(
    home: Path, command: list[str], why_not: str
) -> None:
    stand(home, Phase.CANARY)
    told = say(*command, code=1)
    assert why_not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", [["pause", "rel-2"], ["resume", "rel-2"], ["rollback", "rel-2"], ["override", "x"]])
def test_a_reason_must_be_given(home: Path, command: list[str]) -> None:
    assert "Missing option '--why'" in say(*command, code=2)
