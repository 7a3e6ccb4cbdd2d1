"""Every check of the offline gate passes, fails and has no data; and what the gate makes of all of them together.

Here: accuracy.py, breadth.py and gate.py over models made by hand. Not here: Dagster, Evidently, real models.
"""

from dataclasses import replace

import pytest

from recsys_assets.evaluation.check_names import check_names
from recsys_assets.evaluation.evaluate import CHALLENGER, CHAMPION, RECENT_POPULARITY, Evaluation
from recsys_assets.evaluation.gate import judge, overall, rules
from recsys_assets.records import Outcome, Verdict
from recsys_assets_tests.evaluation.worlds import BROKEN, FIRST, GATE, evaluation, model

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
NOBODY = {"new": (), "warm": (), "tail": ()}


def one(check: str, of: Evaluation) -> Verdict:
    return {v.check: v for v in judge(of, GATE)}[check]


def everything(of: Evaluation) -> Verdict:
    return overall("7", judge(of, GATE))


# --- ndcg_at_10_not_below_champion: margin 10 %


def test_equal_to_the_champion_is_not_inferior() -> None:
    assert one("ndcg_at_10_not_below_champion", evaluation()).outcome is PASS


def test_a_loss_inside_the_margin_passes_and_is_named() -> None:
    slightly = model(CHALLENGER, new=(0.19, 0.38) * 30, warm=(0.285, 0.475) * 30)
    found = one("ndcg_at_10_not_below_champion", evaluation(slightly))
    assert found.outcome is PASS
    assert "-5.0%" in found.reason


def test_a_loss_beyond_the_margin_fails_and_says_by_how_much() -> None:
    worse = model(CHALLENGER, new=(0.16, 0.32) * 30, warm=(0.24, 0.4) * 30)
    found = one("ndcg_at_10_not_below_champion", evaluation(worse))
    assert found.outcome is FAIL
    assert "beyond the margin of 10.0% by 10.0%" in found.reason
    assert found.measurements[0].value == pytest.approx(-0.2)


def test_too_noisy_to_exclude_the_margin_is_inconclusive() -> None:
    # The means are equal, but half of the users gained all and half lost all.
    noisy = model(CHALLENGER, new=(0.0, 0.6) * 30, warm=(0.0, 0.8) * 30)
    found = one("ndcg_at_10_not_below_champion", evaluation(noisy))
    assert found.outcome is INCONCLUSIVE
    assert "misses the margin" in found.reason


def test_the_first_release_passes_because_the_floors_carry_it() -> None:
    found = one("ndcg_at_10_not_below_champion", evaluation(reference=FIRST))
    assert found.outcome is PASS
    assert found.reason == "first release: no champion to compare with"


def test_a_champion_without_its_holdout_is_not_the_same_as_no_champion() -> None:
    for check in ("ndcg_at_10_not_below_champion", "no_slice_lost", "catalogue_coverage_kept"):
        found = one(check, evaluation(reference=BROKEN))
        assert found.outcome is INCONCLUSIVE
        assert "no holdout of version 3" in found.reason


# --- ndcg_at_10_not_below_recent_popularity


def test_as_good_as_recent_popularity_passes_without_a_champion() -> None:
    assert one("ndcg_at_10_not_below_recent_popularity", evaluation(reference=FIRST)).outcome is PASS


def test_below_recent_popularity_fails_even_by_little() -> None:
    better = model(RECENT_POPULARITY, new=(0.202, 0.404) * 30, warm=(0.303, 0.505) * 30)
    found = one("ndcg_at_10_not_below_recent_popularity", evaluation(floor=better, reference=FIRST))
    assert found.outcome is FAIL
    assert "below the floor by 1.0%" in found.reason


def test_above_the_floor_only_by_chance_is_inconclusive() -> None:
    lucky = model(CHALLENGER, new=(0.0, 0.61) * 30, warm=(0.0, 0.81) * 30)
    floor = model(RECENT_POPULARITY, new=(0.6, 0.0) * 30, warm=(0.8, 0.0) * 30)
    found = one("ndcg_at_10_not_below_recent_popularity", evaluation(lucky, floor=floor))
    assert found.outcome is INCONCLUSIVE
    assert "+1.4%" in found.reason


# --- no_slice_lost: margin 25 %, at least 20 users


@pytest.mark.parametrize("part", ["new", "warm", "tail"])
def test_a_win_on_average_with_a_lost_segment_is_blocked(part: str) -> None:
    numbers = {"new": (0.6, 0.8) * 30, "warm": (0.6, 0.8) * 30, "tail": (0.6, 0.8) * 30}
    winner = model(CHALLENGER, **(numbers | {part: (0.05, 0.1) * 30}))
    lost = evaluation(winner)
    assert one("ndcg_at_10_not_below_champion", lost).outcome is PASS
    found = one("no_slice_lost", lost)
    assert found.outcome is FAIL
    assert "beyond the margin of 25.0% by" in found.reason
    assert everything(lost).outcome is FAIL


def test_segments_are_held_against_recent_popularity_before_there_is_a_champion() -> None:
    lost = evaluation(model(CHALLENGER, new=(0.6,) * 60, warm=(0.01,) * 60), reference=FIRST)
    found = one("no_slice_lost", lost)
    assert found.outcome is FAIL
    assert RECENT_POPULARITY in found.reason


def test_a_loss_that_hangs_on_a_handful_of_users_is_chance() -> None:
    # Three users had a long-tail hit with the champion and none has one now: -100 %, but three users prove nothing.
    few = (0.3,) * 3 + (0.0,) * 57
    found = one("no_slice_lost", evaluation(model(CHALLENGER, tail=(0.0,) * 60), champion=model(CHAMPION, tail=few)))
    assert found.outcome is PASS


def test_a_segment_that_lost_within_its_margin_passes_however_sure_the_loss() -> None:
    found = one("no_slice_lost", evaluation(model(CHALLENGER, new=(0.16, 0.32) * 30)))
    assert found.outcome is PASS
    assert "-20.0%" in found.reason


def test_a_segment_whose_loss_may_be_chance_passes() -> None:
    # Ten users had a hit with the champion, seven others have one now: -30 %, and nothing is shown.
    before, now = (0.3,) * 10 + (0.0,) * 50, (0.0,) * 53 + (0.3,) * 7
    found = one("no_slice_lost", evaluation(model(CHALLENGER, new=now), champion=model(CHAMPION, new=before)))
    assert found.outcome is PASS
    assert "-30.0%" in found.reason


@pytest.mark.parametrize("users", [0, 19])
def test_a_segment_that_is_missing_or_tiny_cannot_be_judged(users: int) -> None:
    ours, theirs, floor = (model(name, new=(0.3,) * users) for name in (CHALLENGER, CHAMPION, RECENT_POPULARITY))
    found = one("no_slice_lost", evaluation(ours, champion=theirs, floor=floor))
    assert found.outcome is INCONCLUSIVE
    assert f"new_users: {users} users, 20 are needed" in found.reason


# --- catalogue_coverage_kept (half of the reference's) and popularity_not_collapsed (twice)


@pytest.mark.parametrize(("coverage", "outcome"), [(0.4, PASS), (0.2, PASS), (0.19, FAIL), (0.0, FAIL)])
def test_coverage_must_be_at_least_half_of_the_champions(coverage: float, outcome: Outcome) -> None:
    found = one("catalogue_coverage_kept", evaluation(model(CHALLENGER, coverage=coverage)))
    assert found.outcome is outcome
    assert ("short by" in found.reason) is (outcome is FAIL)


def test_showing_nothing_fails_coverage_even_when_the_reference_shows_nothing_either() -> None:
    nothing = evaluation(model(CHALLENGER, coverage=0.0), champion=model(CHAMPION, coverage=0.0))
    assert one("catalogue_coverage_kept", nothing).outcome is FAIL


@pytest.mark.parametrize(("popularity", "outcome"), [(0.01, PASS), (0.02, PASS), (0.021, FAIL)])
def test_what_is_shown_may_become_at_most_twice_as_popular(popularity: float, outcome: Outcome) -> None:
    found = one("popularity_not_collapsed", evaluation(model(CHALLENGER, popularity=popularity)))
    assert found.outcome is outcome
    assert ("over by 0.100%" in found.reason) is (outcome is FAIL)


def test_the_same_list_for_everybody_is_a_collapse_however_popular_the_champion_was() -> None:
    found = one("popularity_not_collapsed", evaluation(model(CHALLENGER, outside=0.0)))
    assert found.outcome is FAIL
    assert "short by 30.00%" in found.reason


# --- nobody, too few, leaks


def test_without_users_nothing_passes() -> None:
    empty = evaluation(
        model(CHALLENGER, **NOBODY), champion=model(CHAMPION, **NOBODY), floor=model(RECENT_POPULARITY, **NOBODY)
    )
    verdicts = judge(empty, GATE)
    assert {v.outcome for v in verdicts} == {INCONCLUSIVE}


@pytest.mark.parametrize(("users", "outcome"), [(14, INCONCLUSIVE), (15, PASS)])
def test_an_evaluation_of_too_few_users_is_inconclusive(users: int, outcome: Outcome) -> None:
    ours, floor = (model(name, new=(0.3,) * users, warm=(0.3,) * 15) for name in (CHALLENGER, RECENT_POPULARITY))
    small = evaluation(ours, floor=floor, reference=FIRST)
    assert one("evaluation_has_enough_users", small).outcome is outcome


def test_a_holdout_that_saw_the_test_turns_every_pass_into_inconclusive() -> None:
    verdicts = judge(evaluation(leak="the challenger's holdout knows events up to yesterday"), GATE)
    assert {v.outcome for v in verdicts} == {INCONCLUSIVE}
    assert all("knows events" in v.reason for v in verdicts)


def test_a_holdout_that_saw_the_test_hides_no_failure() -> None:
    worse = model(CHALLENGER, new=(0.16, 0.32) * 30, warm=(0.24, 0.4) * 30)
    found = one("ndcg_at_10_not_below_champion", evaluation(worse, leak="the challenger's holdout knows too much"))
    assert found.outcome is FAIL
    assert "beyond the margin" in found.reason


@pytest.mark.parametrize(
    ("missing", "checks"),
    [
        (CHALLENGER, ("ndcg_at_10_not_below_champion", "catalogue_coverage_kept", "popularity_not_collapsed")),
        (CHAMPION, ("ndcg_at_10_not_below_champion", "catalogue_coverage_kept", "popularity_not_collapsed")),
        (RECENT_POPULARITY, ("ndcg_at_10_not_below_recent_popularity",)),
    ],
)
def test_what_was_not_scored_is_not_compared_with(missing: str, checks: tuple[str, ...]) -> None:
    of = evaluation()
    without = replace(of, models={name: scored for name, scored in of.models.items() if name != missing})
    assert {rules("ndcg_at_10")[check](without, GATE).outcome for check in checks} == {INCONCLUSIVE}


@pytest.mark.parametrize("nobody", [CHALLENGER, CHAMPION])
def test_what_was_shown_to_nobody_cannot_be_compared(nobody: str) -> None:
    of = evaluation()
    empty = replace(of, models=of.models | {nobody: model(nobody, **NOBODY)})
    for check in ("catalogue_coverage_kept", "popularity_not_collapsed"):
        assert rules("ndcg_at_10")[check](empty, GATE).outcome is INCONCLUSIVE


# --- all together


def test_all_checks_pass_for_a_model_as_good_as_the_champion() -> None:
    verdicts = judge(evaluation(), GATE)
    assert tuple(v.check for v in verdicts) == check_names("ndcg_at_10")
    found = everything(evaluation())
    assert (found.check, found.model_version, found.outcome) == ("evaluation_report", "7", PASS)
    assert found.measurements


def test_a_fail_outweighs_an_inconclusive() -> None:
    broken = evaluation(model(CHALLENGER, warm=(0.01,) * 60), reference=BROKEN)
    assert everything(broken).outcome is FAIL


def test_no_verdicts_or_those_of_another_version_prove_nothing() -> None:
    assert overall("7", ()).outcome is INCONCLUSIVE
    assert overall("8", judge(evaluation(), GATE)).outcome is INCONCLUSIVE


def test_what_could_not_be_judged_holds_the_whole_but_is_not_called_a_failure() -> None:
    found = everything(evaluation(reference=BROKEN))
    assert found.outcome is INCONCLUSIVE
    assert "no holdout of version 3" in found.reason
