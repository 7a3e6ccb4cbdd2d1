"""Opening a release: again after a crash, two at once, after an end that nobody settled, never sharing an id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.interface import ANY, DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE, Conflict
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.route import RouteState, opened, virtual_service
from recsys_assets.rollout.settle import settled_key
from recsys_assets.rollout.start import open_release
from recsys_assets_tests.rollout.build import desk, later, model, plan, release, route, service


def put(at: Desk, state: RouteState) -> RouteState:
    at.platform.apply(virtual_service(state), expected=ANY)
    found = read_state(at.platform, at.model_name)
    assert found is not None
    record(at.ledger, found)
    return found


def begin(at: Desk, version: str = "2", **changes: Any) -> RouteState:
    return open_release(at, model(version), plan(**changes), actor="test")


def champion(at: Desk, version: str = "1") -> RouteState:
    of = release(champion=None).model_copy(update={"release_id": "rel-1", "model": model(version)})
    state = opened(of, actor="test")
    return put(at, replace(state, phase=Phase.CHAMPION, transition=1))


class Dying:
    """A platform whose process dies right after the n-th write."""

    class DiedError(Exception):
        pass

    def __init__(self, real: Any, writes: int) -> None:
        self._real, self._left = real, writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def apply(self, *given: Any, **more: Any) -> Any:
        result = self._real.apply(*given, **more)
        self._left -= 1
        if self._left == 0:
            raise self.DiedError
        return result


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_an_opening_that_died_after_any_write_is_finished_by_the_next_attempt(tmp_path: Path, writes: int) -> None:
    at, _ = desk(tmp_path)
    champion(at)
    with pytest.raises(Dying.DiedError):
        begin(replace(at, platform=Dying(at.platform, writes)))
    state = begin(at)
    assert (state.phase, state.release.champion) == (Phase.GATED, "1")
    assert [e.kind for e in at.ledger.events(state.release.release_id)] == ["opened"]
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v2"]
    assert [r.release_id for r in at.ledger.releases()] == ["rel-1", state.release.release_id]


def test_a_service_is_claimed_by_its_spec_and_not_by_what_the_platform_saw(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion(at)
    written: list[Any] = []

    class WithStatus:
        def __getattr__(self, name: str) -> Any:
            return getattr(at.platform, name)

        def get(self, kind: str, name: str) -> Any:
            standing = at.platform.get(kind, name)
            return standing and {**standing, "status": {"observedGeneration": 1}}

        def apply(self, manifest: Any, *, expected: Any) -> Any:
            written.append(manifest)
            return at.platform.apply(manifest, expected=expected)

    begin(replace(at, platform=WithStatus()))
    (claimed,) = [manifest for manifest in written if manifest["kind"] == INFERENCE_SERVICE]
    assert claimed["metadata"]["annotations"]["recsys-assets.dev/release-id"].startswith("recommender-v2-")
    assert "spec" in claimed
    assert "status" not in claimed


def test_of_two_that_open_at_once_one_wins_and_the_other_is_refused(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion(at)
    service(at.platform, "3")

    class Rival:
        def __init__(self) -> None:
            self.first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(at.platform, name)

        def apply(self, manifest: Any, *, expected: Any) -> Any:
            if manifest["kind"] == VIRTUAL_SERVICE and self.first:
                self.first = False
                begin(at, "3")
            return at.platform.apply(manifest, expected=expected)

    with pytest.raises(ReleaseRefused, match=r"recommender-v3-.* is under way \(gated\): one at a time"):
        begin(replace(at, platform=Rival()))
    standing = read_state(at.platform, at.model_name)
    assert standing is not None
    assert standing.version == "3"
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v3"]


def test_a_release_that_opens_while_the_last_one_is_settled_is_not_overwritten(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.HELD), transition=3))
    service(at.platform, "3")

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(at.registry, name)

        def champion(self) -> Any:
            begin(at, "3")
            return at.registry.champion()

    with pytest.raises(ReleaseRefused, match=r"recommender-v3-.* is under way"):
        begin(replace(at, registry=Slow()))


def test_a_digest_that_was_rolled_back_is_refused_also_where_the_route_is_gone(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.ROLLED_BACK), transition=3))
    at.platform.delete(VIRTUAL_SERVICE, at.model_name)
    with pytest.raises(ReleaseRefused, match="rolled back"):
        begin(at)


def test_a_fight_over_the_route_is_given_up_and_said(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)

    class Busy(Dying):
        def apply(self, *given: Any, **more: Any) -> Any:
            raise Conflict(VIRTUAL_SERVICE, "recommender", "another version stands there")

    with pytest.raises(ReleaseRefused, match="changed 5 times"):
        begin(replace(at, platform=Busy(at.platform, 0)))


def test_what_the_last_release_left_open_is_settled_first_but_the_new_ones_service_stays(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    before = put(at, replace(route(Phase.HELD), transition=3))
    state = begin(at)
    assert at.ledger.has(settled_key(before))
    assert [m["metadata"]["name"] for m in at.platform.list(INFERENCE_SERVICE)] == ["recommender-v1", "recommender-v2"]
    assert state.release.champion == "1"


def test_after_a_first_release_that_failed_unsettled_the_next_one_is_a_first_one(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.REJECTED, champion=None), transition=1))
    assert begin(at).release.champion is None


def test_a_refused_release_leaves_the_last_ones_follow_ups_to_the_tick(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    before = put(at, replace(route(Phase.ROLLED_BACK), transition=3))
    with pytest.raises(ReleaseRefused, match="rolled back"):
        begin(at)
    assert not at.ledger.has(settled_key(before)), "settled now, its service would stay for good"


def test_two_releases_within_one_second_share_no_id_and_no_approval(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion(at)
    first = begin(at)
    put(at, replace(first, phase=Phase.HELD, transition=1))
    service(at.platform, "2")
    second = begin(at)
    assert second.release.release_id == f"{first.release.release_id}-2"
    assert not at.ledger.approved(second.release.release_id)


def test_the_opening_claims_its_service_so_that_an_older_delete_does_not_fit(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion(at)
    before = at.platform.get(INFERENCE_SERVICE, "recommender-v2")
    state = begin(at)
    after = at.platform.get(INFERENCE_SERVICE, "recommender-v2")
    assert before is not None
    assert after is not None
    assert after["metadata"]["annotations"]["recsys-assets.dev/release-id"] == state.release.release_id
    assert after["metadata"]["generation"] == before["metadata"]["generation"], "a claim restarts no server"
    with pytest.raises(Conflict):
        at.platform.delete(INFERENCE_SERVICE, "recommender-v2", expected=before["metadata"]["resourceVersion"])


def test_without_its_service_nothing_is_released(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion(at)
    with pytest.raises(ReleaseRefused, match="InferenceService/recommender-v3 is not there"):
        begin(at, "3")
    assert [r.release_id for r in at.ledger.releases()] == ["rel-1"]


def test_a_route_that_was_edited_by_hand_is_not_built_upon(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = champion(at)
    put(at, replace(state, split=state.split.model_copy(update={"stable": "recommender-v9"})))
    with pytest.raises(ReleaseRefused, match="edited by hand"):
        begin(at)


def test_the_deadline_and_the_lease_count_from_the_opening(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    clock.at = 7
    state = begin(at, deadline_seconds=100, lease_seconds=9)
    assert (state.deadline, state.lease, state.entered_at) == (later(107), later(16), later(7))
