"""The drills hurt visitors and nobody else.

Here: faults.py, and one server that runs each drill's hook. Not here: what the canary makes of it.
"""

from __future__ import annotations

from pathlib import Path

from recsys_assets.serving.faults import Faults
from recsys_assets.serving.ladder import Answer
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
