"""Which moments are cut, and what each fit may see of them. Not here: features or labels."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.columns import UTC_TIME
from recsys_assets.settings import GateSettings, TrainingSettings
from recsys_assets.training.cuts import CUT, LABEL, Cuts, folds

AS_OF = datetime(2024, 2, 1, tzinfo=UTC)


def days_before(cuts: tuple[datetime, ...]) -> list[int]:
    return [(AS_OF - cut).days for cut in cuts]


def test_the_holdout_starts_before_the_test_period() -> None:
    # Test period: the last 14 days. A cut 21 days back has labels that end exactly where it begins.
    cuts = Cuts.of(AS_OF, TrainingSettings(cuts=2, label_days=7), GateSettings(test_days=14))
    assert days_before(cuts.release) == [7, 14]
    assert days_before(cuts.holdout) == [21, 28]
    assert days_before(cuts.unseen) == [7, 14]


def test_a_test_period_that_is_no_multiple_of_the_label_days_is_rounded_up() -> None:
    cuts = Cuts.of(AS_OF, TrainingSettings(cuts=2, label_days=7), GateSettings(test_days=10))
    assert days_before(cuts.holdout) == [21, 28]
    # The cut 14 days back has labels inside and outside of the test period: neither fitted by the holdout nor judged.
    assert days_before(cuts.unseen) == [7]


def test_cuts_may_stand_closer_than_their_labels_are_long() -> None:
    cuts = Cuts.of(AS_OF, TrainingSettings(cuts=3, label_days=7, cut_step_days=2), GateSettings(test_days=3))
    assert days_before(cuts.release) == [7, 9, 11]
    assert days_before(cuts.holdout) == [11, 13, 15]  # 11 days back: labels end 4 days back, the test begins 3 back


@given(cuts=st.integers(1, 8), label=st.integers(1, 30), step=st.integers(1, 40), test=st.integers(1, 60))
def test_no_label_of_a_holdout_cut_reaches_into_the_test_period(cuts: int, label: int, step: int, test: int) -> None:
    made = Cuts.of(
        AS_OF, TrainingSettings(cuts=cuts, label_days=label, cut_step_days=step), GateSettings(test_days=test)
    )
    assert all(cut + timedelta(days=label) <= made.test_from for cut in made.holdout)
    assert all(cut + timedelta(days=label) <= made.as_of for cut in made.release)
    assert len(made.holdout) == len(made.release) == cuts
    assert not set(made.unseen) & set(made.holdout)


def test_folds_judge_the_newest_cuts_by_older_ones_only() -> None:
    cuts = [AS_OF - timedelta(days=n) for n in (7, 14, 21)]
    rows = pl.DataFrame(
        {CUT: [cut for cut in cuts for _ in range(2)], LABEL: [0, 1] * 3}, schema={CUT: UTC_TIME, LABEL: pl.Int8}
    )
    seen = [(sorted(set(fit[CUT])), sorted(set(judge[CUT]))) for fit, judge in folds(rows, cuts, label_days=7)]
    assert seen == [([cuts[2]], [cuts[1]]), ([cuts[2], cuts[1]], [cuts[0]])]


def test_a_fold_leaves_out_cuts_whose_labels_reach_beyond_the_judged_cut() -> None:
    cuts = [AS_OF - timedelta(days=n) for n in (7, 9, 14)]
    rows = pl.DataFrame(
        {CUT: [cut for cut in cuts for _ in range(2)], LABEL: [0, 1] * 3}, schema={CUT: UTC_TIME, LABEL: pl.Int8}
    )
    seen = [(sorted(set(fit[CUT])), sorted(set(judge[CUT]))) for fit, judge in folds(rows, cuts, label_days=7)]
    assert seen == [([cuts[2]], [cuts[0]])]


def test_a_fold_without_positives_is_left_out() -> None:
    cuts = [AS_OF - timedelta(days=n) for n in (7, 14)]
    rows = pl.DataFrame({CUT: [cuts[0], cuts[0], cuts[1]], LABEL: [0, 1, 0]}, schema={CUT: UTC_TIME, LABEL: pl.Int8})
    assert folds(rows, cuts, label_days=7) == []
