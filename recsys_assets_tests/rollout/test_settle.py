"""Follow-ups of an end: done once, by whoever comes, and left alone by a writer that is late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.interface import ANY, DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE, Conflict
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.agree import agree, drop_challenger
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.outcomes import Logs, WeightSince
from recsys_assets.rollout.route import RouteState, destination_rule, virtual_service
from recsys_assets.rollout.settle import is_settled, settle, settled_key
from recsys_assets_tests.rollout.build import FixedMetrics, desk, later, model, route, service


def put(at: Desk, state: RouteState) -> RouteState:
    at.platform.apply(virtual_service(state), expected=ANY)
    found = read_state(at.platform, at.model_name)
    assert found is not None
    record(at.ledger, found)
    return found


def ended(at: Desk, phase: Phase = Phase.ROLLED_BACK, **changes: Any) -> RouteState:
    weights = (WeightSince(later(1), 1_000), WeightSince(later(9), 0))
    return put(at, replace(route(phase, **changes), transition=3, weights=weights))


def another_release(at: Desk, phase: Phase = Phase.GATED) -> RouteState:
    """As many moves as the other one: only its id tells them apart."""
    state = route(phase)
    of = state.release.model_copy(update={"release_id": "rel-3", "model": model("3")})
    return put(at, replace(state, release=of, transition=3))


def services(at: Desk) -> list[str]:
    return [m["metadata"]["name"] for m in at.platform.list(INFERENCE_SERVICE)]


def kinds(at: Desk) -> list[str]:
    return [e.kind for e in at.ledger.events("rel-2")]


def test_a_release_under_way_has_nothing_to_settle(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    assert not settle(at, put(at, route(Phase.CANARY)))
    assert services(at) == ["recommender-v1", "recommender-v2"]
    assert kinds(at) == ["opened"]


def test_a_roll_back_is_settled_once(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    state = ended(at)
    assert settle(at, state)
    assert is_settled(at.ledger, state)
    clock.at = 50
    assert settle(at, state)
    assert kinds(at) == ["opened", "rolled_back", "exposures_marked", "audience", "settled"]
    assert (services(at), at.registry.challenger()) == (["recommender-v1"], None)


def test_a_held_release_may_be_tried_again_so_it_stays_the_challenger_and_is_not_marked(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    settle(at, ended(at, Phase.HELD))
    assert at.registry.now["challenger"] == "2"
    assert "exposures_marked" not in kinds(at)


def test_a_release_that_no_user_saw_has_no_audience_and_no_mark(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    settle(at, put(at, replace(route(Phase.REJECTED), transition=2)))
    assert kinds(at) == ["opened", "rejected", "settled"]


def test_without_a_gateway_log_it_settles_and_counts_nobody(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at = replace(at, metrics=FixedMetrics(Logs(None, None, None)))
    assert settle(at, ended(at))
    assert "audience" not in kinds(at)


def test_a_late_settler_does_nothing_after_another_release_opened(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stale = ended(at, Phase.CHAMPION)
    service(at.platform, "3")
    another_release(at)
    at.registry.set_alias("champion", "1")
    at.registry.set_alias("challenger", "2")
    assert not settle(at, stale)
    assert at.registry.now == {"champion": "1", "challenger": "2"}
    assert services(at) == ["recommender-v1", "recommender-v2", "recommender-v3"]
    assert not at.ledger.has(settled_key(stale))


def test_a_release_that_opens_while_the_champion_is_named_keeps_its_challenger(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = ended(at)

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(at.registry, name)

        def champion(self) -> Any:
            another_release(at)
            return at.registry.champion()

    assert not settle(replace(at, registry=Slow()), state)
    assert at.registry.now["challenger"] == "2"
    assert services(at) == ["recommender-v1", "recommender-v2"]


def test_a_late_settler_does_nothing_after_the_route_made_another_move(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stale = ended(at, Phase.CHAMPION)
    put(at, replace(stale, transition=4, phase=Phase.ROLLED_BACK, split=route(Phase.ROLLED_BACK).split))
    assert not settle(at, stale)
    assert "champion" not in at.registry.now


class PutToUseMeanwhile:
    """A platform on which a service is claimed by somebody else between the look and the delete."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def delete(self, kind: str, name: str, *, expected: Any = ANY) -> bool:
        if kind == INFERENCE_SERVICE:
            standing = self._real.get(kind, name)
            standing["metadata"].setdefault("annotations", {})["recsys-assets.dev/release-id"] = "rel-9"
            self._real.apply({k: v for k, v in standing.items() if k != "status"}, expected=ANY)
        return bool(self._real.delete(kind, name, expected=expected))


def test_a_service_that_is_put_to_use_again_survives_a_delete_that_was_on_its_way(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = ended(at)
    assert not settle(replace(at, platform=PutToUseMeanwhile(at.platform)), state)
    assert services(at) == ["recommender-v1", "recommender-v2"]
    assert not is_settled(at.ledger, state)


class SettledBySomebodyElse:
    """A platform during whose look somebody else settles the release and a new use of the service begins."""

    def __init__(self, at: Desk, state: RouteState) -> None:
        self._at, self._state = at, state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at.platform, name)

    def get(self, kind: str, name: str) -> Any:
        if kind == INFERENCE_SERVICE:
            self._at.ledger.append(
                "settled", release_id="rel-2", actor="x", at=later(1), key=settled_key(self._state), body={}
            )
        return self._at.platform.get(kind, name)


def test_what_somebody_else_has_settled_meanwhile_is_not_touched(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = ended(at)
    assert not settle(replace(at, platform=SettledBySomebodyElse(at, state)), state)
    assert services(at) == ["recommender-v1", "recommender-v2"]


def test_a_spared_service_stays(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    assert settle(at, ended(at), spare=frozenset({"recommender-v2"}))
    assert services(at) == ["recommender-v1", "recommender-v2"]


def test_a_first_release_that_failed_is_settled_before_its_route_goes(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, replace(route(Phase.REJECTED, champion=None), transition=1))
    at.ledger.append("settled", release_id="rel-2", actor="x", at=later(1), key=settled_key(state), body={})
    assert not is_settled(at.ledger, state), "a route that leads nowhere is not settled while it stands"
    assert settle(at, state)
    assert read_state(at.platform, at.model_name) is None


def test_a_route_that_was_written_since_is_not_deleted(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stale = put(at, replace(route(Phase.REJECTED, champion=None), transition=1))
    at.ledger.append("settled", release_id="rel-2", actor="x", at=later(1), key=settled_key(stale), body={})
    another_release(at)
    assert not settle(at, stale)
    assert read_state(at.platform, at.model_name) is not None
    assert not settle(at, replace(stale, resource_version=None))
    assert at.platform.get(VIRTUAL_SERVICE, at.model_name) is not None


def test_an_alias_that_a_late_writer_set_is_brought_back_to_the_route(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    settle(at, ended(at, Phase.CHAMPION))
    at.registry.set_alias("champion", "1")
    agree(at)
    assert at.registry.now["champion"] == "2"
    agree(replace(at, registry=Unwritten(at.registry)))


def test_while_a_release_is_under_way_the_champion_is_the_one_before(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, route(Phase.BAKING, 2))
    at.registry.set_alias("champion", "2")
    agree(at)
    assert at.registry.now["champion"] == "1"


def test_without_a_route_or_a_champion_the_alias_is_left_alone(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.registry.set_alias("champion", "3")
    agree(at)
    put(at, route(Phase.GATED, champion=None))
    agree(at)
    assert at.registry.now["champion"] == "3"


def test_a_version_that_asked_while_the_last_one_was_dropped_is_named_again(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.registry.registered = ("1", "2", "3")  # type: ignore[attr-defined]
    settle(at, ended(at))
    assert at.registry.now["challenger"] == "3"


def test_where_nobody_asks_nothing_is_dropped(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.registry.drop_alias("challenger")
    drop_challenger(at, "2")
    assert at.registry.challenger() is None


def test_another_versions_challenge_is_not_dropped(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.registry.set_alias("challenger", "3")
    settle(at, ended(at))
    assert at.registry.now["challenger"] == "3"


@pytest.mark.parametrize(("phase", "left"), [(Phase.GATED, True), (Phase.CHAMPION, True), (Phase.ROLLED_BACK, False)])
def test_a_rule_stands_as_long_as_the_route_may_name_its_version(tmp_path: Path, phase: Phase, left: bool) -> None:
    at, _ = desk(tmp_path)
    for version in "29":
        at.platform.apply(destination_rule(model(version)), expected=ANY)
    put(at, route(phase))
    agree(at)
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v2"] * left


class Unwritten:
    """A platform, or a registry, to which nothing may be written."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        assert name in {"get", "list", "champion"}, f"{name} was asked for"
        return getattr(self._real, name)


def test_a_rule_that_is_missing_or_of_an_earlier_release_is_written(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.platform.apply(destination_rule(model("2"), release_id="rel-1"), expected=ANY)
    put(at, route(Phase.CANARY))
    agree(at)
    assert at.platform.get(DESTINATION_RULE, "recommender-v2") is not None
    assert at.platform.list(DESTINATION_RULE)[0]["metadata"]["annotations"]["recsys-assets.dev/release-id"] == "rel-2"
    agree(replace(at, platform=Unwritten(at.platform)))


def test_the_rule_of_a_release_that_opened_meanwhile_is_not_removed(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    ended(at)

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(at.platform, name)

        def list(self, kind: str) -> Any:
            another_release(at)
            at.platform.apply(destination_rule(model("3")), expected=ANY)
            return at.platform.list(kind)

    agree(replace(at, platform=Slow()))
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v3"]


def test_when_the_route_went_meanwhile_no_rule_is_removed(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.platform.apply(destination_rule(model("9")), expected=ANY)
    ended(at)

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(at.platform, name)

        def list(self, kind: str) -> Any:
            at.platform.delete(VIRTUAL_SERVICE, at.model_name)
            return at.platform.list(kind)

    agree(replace(at, platform=Slow()))
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v9"]


def test_another_models_rule_is_not_ours(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.platform.apply(destination_rule(model("2").model_copy(update={"name": "films"})), expected=ANY)
    put(at, route(Phase.ROLLED_BACK))
    agree(at)
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["films-v2"]


def test_a_conflict_in_the_rules_is_left_to_the_next_tick(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.platform.apply(destination_rule(model("9")), expected=ANY)
    put(at, route(Phase.ROLLED_BACK))

    class Busy(PutToUseMeanwhile):
        def delete(self, kind: str, name: str, *, expected: Any = ANY) -> bool:
            raise Conflict(kind, name, "another version stands there")

    agree(replace(at, platform=Busy(at.platform)))
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v9"]
