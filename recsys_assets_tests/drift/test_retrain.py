"""When a drift asks for a release, one reason at a time.

Here: retrain.py. Not here: the sensor around it.
"""

from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.drift.detector import DriftReport, Shift
from recsys_assets.drift.retrain import Retrain, decide_retrain

NOW = datetime(2026, 1, 29, 12, tzinfo=UTC)
AS_OF = datetime(2026, 1, 29, tzinfo=UTC)
HOUR = timedelta(hours=1)


def report(distance: float | None = 0.5, *, champion_as_of: datetime | None = AS_OF - timedelta(days=9)) -> DriftReport:
    shift = Shift(feature="f", kind="number", n_reference=99, n_current=99, distance=distance)
    return DriftReport(
        as_of=AS_OF,
        reference_from=AS_OF - timedelta(days=35),
        reference_to=AS_OF - timedelta(days=9),
        current_from=AS_OF - timedelta(days=7),
        champion_version="3" if champion_as_of else None,
        champion_as_of=champion_as_of,
        shifts=(shift,),
        max_distance=0.1,
        max_drifted_share=0.5,
    )


def decide(
    found: DriftReport | None, *, last: datetime | None = None, in_flight: bool = False, now: datetime = NOW
) -> Retrain:
    return decide_retrain(found, now=now, last_request=last, in_flight=in_flight, cooldown_seconds=3600)


def test_drift_asks_and_says_which_features_moved() -> None:
    found = decide(report())
    assert found.ask
    assert "f 0.50" in found.reason


def test_drift_without_a_champion_asks() -> None:
    assert decide(report(champion_as_of=None)).ask


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "no drift report"),
        (report(0.05), "no drift (PASS)"),
        (report(None), "no drift (INCONCLUSIVE)"),
        (report(champion_as_of=AS_OF), "already knows all days"),
    ],
)
def test_without_a_drift_that_is_news_to_the_champion_nothing_is_asked(found: DriftReport | None, why: str) -> None:
    decision = decide(found)
    assert not decision.ask
    assert why in decision.reason


def test_a_release_under_way_is_not_joined_by_another() -> None:
    assert decide(report(), in_flight=True) == Retrain(False, "a release is under way")


def test_the_cool_down_holds_to_its_last_moment() -> None:
    assert not decide(report(), last=NOW - HOUR + timedelta(seconds=1)).ask
    assert decide(report(), last=NOW - HOUR).ask


def test_a_clock_that_jumped_back_still_cools_down() -> None:
    assert not decide(report(), last=NOW + timedelta(days=1)).ask
