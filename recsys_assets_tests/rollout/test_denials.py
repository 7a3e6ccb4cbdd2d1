"""What was rolled back stays out, but for one trial that a person allowed for a time.

Here: denials.py on literal rows, and the same through a real tick. Not here: who may override (test_people.py).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.rollout.denials import denied_at, override_in_force
from recsys_assets.rollout.ledger import Event
from recsys_assets_tests.rollout.build import T0

HOUR = timedelta(hours=1)


def rows(*kinds: str) -> list[Event]:
    """Rows an hour apart about digest d; `opened:x` is by release x, an override lasts 24 hours."""
    found = []
    for number, kind in enumerate(kinds):
        name, _, release = kind.partition(":")
        at = T0 + number * HOUR
        expires = {"expires_at": (at + 24 * HOUR).isoformat()} if name == "override" else {}
        found.append(Event(number, at, release or "r1", name, "ann", f"k{number}", {"digest": "d", **expires}))
    return found


@pytest.mark.parametrize(
    ("after_the_override", "denied"),
    [(timedelta(0), False), (24 * HOUR - timedelta(microseconds=1), False), (24 * HOUR, True), (25 * HOUR, True)],
)
def test_an_override_lets_through_until_its_end_and_not_at_it(after_the_override: timedelta, denied: bool) -> None:
    told = rows("opened", "rolled_back", "override")
    assert ("d" in denied_at(told, told[-1].at + after_the_override)) is denied


def test_without_a_named_end_an_override_lasts_a_day() -> None:
    told = rows("rolled_back")
    told.append(Event(2, T0, "", "override", "ann", "k", {"digest": "d"}))
    assert denied_at(told, T0 + 24 * HOUR - timedelta(seconds=1)) == {}
    assert denied_at(told, T0 + 24 * HOUR) == {"d": "r1"}


def test_the_release_that_an_override_let_open_spends_it() -> None:
    told = rows("rolled_back", "override", "opened:r2")
    assert denied_at(told, told[-1].at) == {"d": "r1"}
    assert override_in_force(told, "d", told[-1].at) is None


def test_the_release_that_spent_it_goes_on_and_no_other_one() -> None:
    told = rows("rolled_back", "override", "opened:r2", "shadow:r2", "canary:r2")
    late = T0 + 1_000 * HOUR
    assert denied_at(told, late, for_release="r2") == {}
    assert denied_at(told, late, for_release="r3") == {"d": "r1"}


@pytest.mark.parametrize("end", ["rejected:r2", "held:r2"])
def test_a_trial_that_ended_before_users_saw_it_was_the_one_trial(end: str) -> None:
    told = rows("rolled_back", "override", "opened:r2", end)
    assert denied_at(told, told[-1].at) == {"d": "r1"}


def test_a_trial_that_was_rolled_back_again_is_denied_by_that_one() -> None:
    told = rows("rolled_back", "override", "opened:r2", "rolled_back:r2")
    assert denied_at(told, told[-1].at, for_release="r2") == {"d": "r2"}


def test_a_trial_that_became_champion_ends_the_denial() -> None:
    told = rows("rolled_back", "override", "opened:r2", "champion:r2")
    assert denied_at(told, T0 + 1_000 * HOUR) == {}


def test_an_override_before_the_roll_back_allows_nothing_after_it() -> None:
    told = rows("rolled_back", "override", "rolled_back:r2")
    assert denied_at(told, told[-1].at) == {"d": "r2"}


def test_an_opening_after_the_end_spends_nothing_and_is_no_trial() -> None:
    told = rows("rolled_back", "override")
    told.append(Event(9, told[-1].at + 24 * HOUR, "r2", "opened", "x", "k9", {"digest": "d"}))
    assert denied_at(told, told[-1].at, for_release="r2") == {"d": "r1"}


def test_an_override_ends_when_it_says_and_not_when_the_usual_one_would() -> None:
    short = [*rows("rolled_back"), overridden("d", hours=2)]
    assert denied_at(short, T0 + 3 * HOUR - timedelta(seconds=1)) == {}
    assert denied_at(short, T0 + 3 * HOUR) == {"d": "r1"}


def overridden(digest: str, *, hours: float) -> Event:
    at = T0 + HOUR
    body = {"digest": digest, "expires_at": (at + hours * HOUR).isoformat()}
    return Event(5, at, "", "override", "ann", f"k{digest}", body)


def test_an_override_in_force_is_found_by_how_its_digest_begins_until_it_ends() -> None:
    told = [overridden("abc", hours=1), overridden("abd", hours=3)]
    assert override_in_force(told, "abd", T0 + 2 * HOUR) == ("abd", T0 + 4 * HOUR)
    assert override_in_force(told, "ab", T0 + 1.5 * HOUR) == ("abc", T0 + 2 * HOUR)
    assert override_in_force(told, "ab", T0 + 2 * HOUR) == ("abd", T0 + 4 * HOUR), "the first is over at its end"
    assert override_in_force(told, "abd", T0 + 4 * HOUR) is None
    assert override_in_force(told, "b", T0 + HOUR) is None


@pytest.mark.parametrize(("model", "denied"), [({"drill": "slow"}, False), ({"drill": None}, True), (None, True)])
def test_a_drill_that_was_rolled_back_denies_no_digest(model: dict[str, str] | None, denied: bool) -> None:
    told = [Event(1, T0, "r1", "rolled_back", "guard", "k", {"digest": "d", "model": model})]
    assert ("d" in denied_at(told, T0)) is denied


def test_a_drill_that_was_rolled_back_leaves_an_override_as_it_was() -> None:
    told = [*rows("rolled_back", "override")]
    told.append(Event(9, T0 + 2 * HOUR, "r2", "rolled_back", "guard", "k9", {"digest": "d", "model": {"drill": "x"}}))
    assert denied_at(told, T0 + 3 * HOUR) == {}


@given(st.lists(st.sampled_from(["opened:r2", "override", "rolled_back:r1", "held:r2", "paused"]), max_size=12))
def test_no_row_but_an_override_or_a_promotion_ever_allows_what_was_denied(kinds: list[str]) -> None:
    told = rows(*kinds)
    for place, event in enumerate(told):
        before, after = denied_at(told[:place], event.at), denied_at(told[: place + 1], event.at)
        if before and not after:
            assert event.kind == "override"


def test_an_override_is_spent_in_the_ledger_of_a_real_release(tmp_path: Path) -> None:
    from recsys_assets.rollout.desk import ReleaseRefused
    from recsys_assets.rollout.people import override, rollback_now
    from recsys_assets.rollout.start import open_release
    from recsys_assets.rollout.tick import tick
    from recsys_assets_tests.rollout.build import desk, model, plan, service

    at, clock = desk(tmp_path)
    open_release(at, model("1"), plan(), actor="test")
    tick(at, actor="test")
    first = open_release(at, model("2"), plan(shadow_requests=0), actor="test")
    tick(at, actor="test")
    rollback_now(at, first.release.release_id, who="ann", why="odd")
    service(at.platform, "2")
    override(at, model("2").bundle_digest, who="ann", why="the store was down")
    clock.at += 5
    second = open_release(at, model("2"), plan(shadow_requests=0), actor="test")
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.action == "advance"
    clock.at += 5
    assert at.ledger.denied(clock()) == {model("2").bundle_digest: first.release.release_id}
    rollback_now(at, second.release.release_id, who="ann", why="odd again")
    with pytest.raises(ReleaseRefused, match="a person may override it"):
        open_release(at, model("2"), plan(), actor="test")
