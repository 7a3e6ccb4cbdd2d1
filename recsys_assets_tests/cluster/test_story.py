"""Releases on a real cluster: promoted, rolled back, never ready, no longer ready, while users ask and parts die.

Here: claims about what story.py played. Not here: the acts. What is measured is printed, and written where
`--figures` says.
"""

from __future__ import annotations

import pytest

from benchmarks.kills import judge
from recsys_assets.platform.interface import DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state
from recsys_assets_tests.cluster.house import Around
from recsys_assets_tests.cluster.installed import Installed
from recsys_assets_tests.cluster.story import CONTROLLERS, MODEL, SERVER_KILLS, Played, play
from recsys_assets_tests.cluster.story_figures import K, figures, of_span, split_of, written

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(5_400)]


@pytest.fixture(scope="module")
def played(
    dagster: Installed, around: Around, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Played:
    story = play(dagster, around, tmp_path_factory.mktemp("story"))
    written(figures(story), request.config.getoption("--figures"))
    return story


@pytest.fixture(scope="module")
def answers(played: Played) -> list[judge.Answer]:
    return judge.read_answers(played.answers)


def phases(played: Played, version: str) -> list[str]:
    """What the ledger says about this version's release, in order."""
    release = next(row.release_id for row in played.ledger.releases() if row.version == version)
    names = {phase.value for phase in Phase}
    return [event.kind for event in played.ledger.events(release) if event.kind in names]


def test_the_first_release_had_nobody_to_be_compared_with(played: Played) -> None:
    assert phases(played, "1") == ["champion"]


def test_the_second_went_through_every_phase_to_all_users(played: Played) -> None:
    assert phases(played, "2") == ["shadow", "canary", "canary", "baking", "champion"]


def test_every_step_ran_in_a_pod_of_its_own(played: Played) -> None:
    run = played.runs["promoted"].run_id
    jobs = played.installed.get("batch/v1", f"jobs?labelSelector=dagster/run-id={run}")["items"]
    steps = {each["metadata"]["labels"].get("dagster/op") for each in jobs} - {None}
    assert {"ranker_model", "evaluation_report", "challenger_service", "canary", "champion"} <= steps


def test_the_gateway_split_users_as_the_weights_said(played: Played, answers: list[judge.Answer]) -> None:
    """Four standard errors, by visitor: the hash decides once for each of them."""
    splits = split_of(played, answers)
    assert {weight for weight, _, _ in splits} >= {1_000, 5_000}
    for weight, visitors, canary in splits:
        share = weight / 10_000
        assert abs(canary / visitors - share) <= 4 * (share * (1 - share) / visitors) ** 0.5, (weight, visitors, canary)


def test_nobody_was_sent_to_a_model_that_the_route_did_not_give_them(
    played: Played, answers: list[judge.Answer]
) -> None:
    assert judge.misrouted(answers, played.watch.in_force, slack_seconds=1.0) == []


def test_nobody_changed_the_model_unless_the_weights_did(played: Played, answers: list[judge.Answer]) -> None:
    assert judge.flipped(answers, played.watch.in_force, slack_seconds=1.0) == []


def test_no_request_was_lost_while_weights_changed_and_controllers_were_killed(
    played: Played, answers: list[judge.Answer]
) -> None:
    mine = of_span(answers, played.span("promoted"))
    assert {what for what, _ in played.kills} >= set(CONTROLLERS)
    assert len(mine) > 1_000
    assert judge.lost(mine, K) == []


def test_killed_servers_came_back_and_cost_only_what_they_had_in_hand(
    played: Played, answers: list[judge.Answer]
) -> None:
    mine = of_span(answers, played.span("servers killed"))
    assert sum(what == "server" for what, _ in played.kills) == SERVER_KILLS
    assert len(judge.lost(mine, K)) <= 0.01 * len(mine)
    assert judge.lost([answer for answer in mine if answer.scheduled > played.kills[-1][1] + 20], K) == []


def test_the_third_was_taken_back_within_seconds_because_of_its_errors_which_are_one_episode(played: Played) -> None:
    assert phases(played, "3")[-1] == "held"
    row = next(row for row in played.ledger.releases() if row.version == "3")
    assert "(one episode): weight taken away; digest not denied" in row.why
    assert "error" in row.why
    assert row.digest not in played.ledger.denied(row.changed_at)
    assert len(played.ledger.episodes(row.digest)) == 1


def test_the_failing_model_cost_a_handful_of_answers(played: Played, answers: list[judge.Answer]) -> None:
    """The guard takes it back once ten of its answers failed; three in ten did, and some were on their way."""
    lost = judge.lost(of_span(answers, played.span("rolled back")), K)
    assert {answer.status for answer in lost} == {"500"}
    assert len(lost) <= 40
    assert max(answer.done for answer in lost) < played.span("rolled back").ended


def test_a_version_whose_pods_never_became_ready_was_held_with_their_own_words(played: Played) -> None:
    said = "\n".join(played.runs["never ready"].said)
    assert "service_is_ready_on_this_generation" in said
    assert "it said last" in said
    before = played.runs["no longer ready"].run_id
    opened = [event for row in played.ledger.releases() if row.version == "4" for event in
              played.ledger.events(row.release_id) if event.kind == "opened"]  # fmt: skip
    assert all(before in event.actor for event in opened)


def test_a_canary_that_lost_a_server_was_held_and_then_taken_back_with_the_reason(played: Played) -> None:
    assert any("it said last" in reason for reason in played.reasons), played.reasons
    row = next(row for row in played.ledger.releases() if row.version == "4")
    assert phases(played, "4")[-1] == "held"
    assert "deadline" in row.why
    assert f"{MODEL}-v4 is not ready" in "\n".join(played.runs["no longer ready"].said)


def test_users_of_the_canary_that_lost_a_server_were_served_by_the_other(
    played: Played, answers: list[judge.Answer]
) -> None:
    mine = of_span(answers, played.span("no longer ready"))
    assert any(answer.version == "4" for answer in mine)
    assert judge.lost(mine, K) == []


def test_in_the_end_the_second_has_all_users_and_nothing_else_is_left(played: Played) -> None:
    state = read_state(played.platform, MODEL)
    assert state is not None
    assert dict(played.platform.status(VIRTUAL_SERVICE, MODEL).weights) == {f"{MODEL}-v2": 10_000}
    for kind in (INFERENCE_SERVICE, DESTINATION_RULE):
        assert {each["metadata"]["name"] for each in played.platform.list(kind)} <= {f"{MODEL}-v2"}


def test_what_users_saw_and_did_was_counted(played: Played) -> None:
    """By the access logs of the gateway and the exposures of every server, as the analysis read them."""
    release = next(row.release_id for row in played.ledger.releases() if row.version == "2")
    counted = {each.variant: each.visitors for each in played.ledger.audience(release)}
    assert min(counted["stable"], counted["canary"]) >= 100
    assert played.clicks.clicks > 100
    assert played.clicks.unacknowledged == 0
