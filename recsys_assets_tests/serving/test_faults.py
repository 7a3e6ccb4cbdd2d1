"""The drills hurt visitors and nobody else.

Here: faults.py, and one server that runs each drill's hook. Not here: what the canary makes of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.serving.faults import SLOW_SECONDS, STALE_DAYS, Faults, stopped_moving
from recsys_assets.serving.ladder import Answer, Lookup
from recsys_assets_tests.serving.processes import running


def answer(user: str) -> Answer:
    return Answer(user, [f"{user}-1", f"{user}-2"], [2.0, 1.0], "full")


def test_without_a_fault_nothing_is_changed() -> None:
    faults = Faults(None)
    assert faults.delay_seconds() == 0
    assert not any(faults.fails(str(number)) for number in range(1_000))
    assert faults.cross([answer("a")]) == [answer("a")]


def test_failing_fails_three_requests_in_ten_and_the_same_ones_again() -> None:
    failed = [Faults("failing").fails(str(number)) for number in range(10_000)]
    assert 2_850 < sum(failed) < 3_150
    assert failed == [Faults("failing").fails(str(number)) for number in range(10_000)]


def test_crossed_users_get_the_ranking_of_the_visitor_before() -> None:
    faults = Faults("crossed_users")
    assert faults.cross([answer("a")])[0].items == ["a-1", "a-2"]
    second = faults.cross([answer("b")])[0]
    assert (second.user_id, second.items) == ("b", ["a-1", "a-2"])
    assert faults.cross([answer("c")])[0].items == ["b-1", "b-2"]


def test_worse_crosses_four_requests_in_five() -> None:
    faults = Faults("worse")
    faults.cross([answer("first")], "r")
    crossed = [faults.cross([answer(str(n))], f"r{n}")[0].items[0] != f"{n}-1" for n in range(5_000)]
    assert 0.77 < sum(crossed) / len(crossed) < 0.83


def test_slow_and_stale_meet_everybody() -> None:
    assert Faults("slow").delay_seconds("any") == SLOW_SECONDS
    assert Faults("stale_features").stale("any")
    assert not Faults("slow").stale("any")


STOOD = datetime(2024, 1, 31, tzinfo=UTC)


def test_a_store_that_stopped_moving_knows_what_was_before() -> None:
    before, after = (STOOD - timedelta(days=n) for n in (STALE_DAYS + 1, 1))
    row = {"event_time": STOOD, "recent_items": ["old", "new"], "recent_times": [before.timestamp(), after.timestamp()]}
    told = stopped_moving(Lookup({**row, "events_total": 2})).row
    assert told is not None
    assert (told["recent_items"], told["events_total"]) == (["old"], 2)
    assert told["event_time"] == STOOD - timedelta(days=STALE_DAYS)


def test_a_store_that_stopped_moving_does_not_know_whom_it_never_saw() -> None:
    row = {"event_time": STOOD, "recent_items": ["new"], "recent_times": [STOOD.timestamp() - 1]}
    assert stopped_moving(Lookup(row)) == Lookup()


@pytest.mark.parametrize("lookup", [Lookup(), Lookup(failure="online_store_slow"), Lookup({"event_time": None})])
def test_a_store_that_says_nothing_says_the_same_when_it_stopped(lookup: Lookup) -> None:
    assert stopped_moving(lookup) is lookup


def test_a_crossed_server_answers_probes_rightly_and_visitors_wrongly(home: Path) -> None:
    with running("server", "--bundle", home / "bundles" / "3", "--home", home, "--fault", "crossed_users") as server:
        right = {user: items(server.predict({"user_id": user})) for user in ("u02", "u03")}
        assert right["u02"] != right["u03"]
        for user in ("u02", "u03"):
            last = items(server.predict({"user_id": user}, headers={"x-user-id": user}))
        assert last == right["u02"]
        assert items(server.predict({"user_id": "u03"})) == right["u03"]


def test_a_failing_server_fails_visitors_only_and_stays_up(home: Path) -> None:
    with running("server", "--bundle", home / "bundles" / "3", "--home", home, "--fault", "failing") as server:
        visitors = [server.predict({"user_id": "u02"}, headers={"x-user-id": "v"}).status_code for _ in range(60)]
        assert set(visitors) == {200, 500}
        assert {server.predict({"user_id": "u02"}).status_code for _ in range(30)} == {200}


def items(response: object) -> list[str]:
    shown = response.json()["predictions"][0]["items"]  # type: ignore[attr-defined]
    return [entry["item_id"] for entry in shown]
