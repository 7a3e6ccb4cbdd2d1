"""Metrics that a plan names: what each counts, that all must pass and one may fail, and that old plans still read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from recsys_assets.records import AnalysisPlan, LatencyLimit, MetricPlan, Outcome
from recsys_assets.rollout.analysis import judge, quality
from recsys_assets.rollout.evidence import BURN_IN, QUALITY
from recsys_assets.rollout.metric_quality import judge_metric
from recsys_assets.rollout.outcomes import visitor_outcomes
from recsys_assets_tests.rollout.build import Rows, crowd, plan, scope

PURCHASES = MetricPlan(name="purchases", event_types=("purchase",), statistic="any_event", margin=0.2)


def counted(rows: Rows, **metric: Any) -> dict[str, float]:
    of = MetricPlan(**({"name": "m", "margin": 0.1} | metric))
    return dict(visitor_outcomes(rows.logs(), scope(), of).visitors.select("visitor_id", "outcome").iter_rows())


def busy() -> Rows:
    """anna: clicks a twice and b, buys a; items c and never-shown are no help. bert: nothing."""
    rows = Rows()
    request = rows.ask("anna", "canary", 10, clicks=["a", "b", "never shown"])
    rows.ask("bert", "stable", 10)
    common = {"request_id": request, "received_at": rows.feedback[0]["received_at"]}
    rows.feedback += [
        common | {"event_id": "again", "item_id": "a", "event_type": "click"},
        common | {"event_id": "bought", "item_id": "a", "event_type": "purchase"},
        common | {"event_id": "seen", "item_id": "c", "event_type": "impression"},
    ]
    rows.feedback.append(rows.feedback[-2])
    return rows


@pytest.mark.parametrize(
    ("metric", "anna"),
    [
        ({}, 2.0),
        ({"event_types": ("click",)}, 2.0),
        ({"event_types": ("purchase",)}, 1.0),
        ({"event_types": ("impression",)}, 1.0),
        ({"statistic": "events"}, 4.0),
        ({"statistic": "events", "event_types": ("click",)}, 3.0),
        ({"statistic": "events", "cap": 2}, 2.0),
        ({"statistic": "any_event"}, 1.0),
        ({"statistic": "any_event", "event_types": ("refund",)}, 0.0),
    ],
)
def test_each_statistic_counts_what_its_name_says(metric: dict[str, Any], anna: float) -> None:
    assert counted(busy(), **metric) == {"anna": anna, "bert": 0.0}


@pytest.mark.parametrize("statistic", ["distinct_items", "any_event", "events"])
def test_an_event_counts_once_where_one_request_asked_for_several_users(statistic: str) -> None:
    """One visitor asked for the lists of two users, and both hold what was then clicked."""
    rows = Rows()
    rows.ask("anna", "canary", 10, clicks=["a"])
    rows.exposures.append({**rows.exposures[0], "user_id": "bert"})
    assert counted(rows, statistic=statistic) == {"anna": 1.0}


def with_purchases(*, canary: float, stable: float, n: int = 4_000) -> Rows:
    """A canary that is better in clicks; who buys is by the two rates."""
    rows = crowd(n, canary_clicks=0.9, stable_clicks=0.5)
    seen = {"canary": 0, "stable": 0}
    for row in list(rows.exposures):
        rate, number = {"canary": canary, "stable": stable}[row["variant"]], seen[row["variant"]]
        seen[row["variant"]] += 1
        if int((number + 1) * rate) > int(number * rate):
            bought = {"event_id": f"buy-{row['request_id']}", "request_id": row["request_id"], "item_id": "b"}
            rows.feedback.append(bought | {"event_type": "purchase", "received_at": row["served_at"]})
    return rows


def verdict_on(rows: Rows, **changes: Any):
    of = scope(metrics=(PURCHASES,), **changes)
    return quality(rows.logs(), of, visitor_outcomes(rows.logs(), of))


def test_a_release_passes_when_every_metric_does() -> None:
    found = verdict_on(with_purchases(canary=0.5, stable=0.5))
    assert found.outcome is Outcome.PASS
    assert {"engagement_difference", "purchases_difference", "purchases_log_evidence"} <= {
        m.name for m in found.measurements
    }


def test_one_metric_that_is_shown_to_be_worse_fails_the_release_however_good_the_first_is() -> None:
    found = verdict_on(with_purchases(canary=0.1, stable=0.5))
    assert found.outcome is Outcome.FAIL
    assert "purchases" in found.reason
    assert "engagement" not in found.reason


def test_one_metric_that_nobody_moved_leaves_the_release_open() -> None:
    found = verdict_on(with_purchases(canary=0.0, stable=0.0))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "purchases" in found.reason


def test_one_futile_metric_makes_the_verdict_futile() -> None:
    rows = with_purchases(canary=0.40, stable=0.5, n=6_000)
    assert not verdict_on(rows).futile
    found = verdict_on(rows, power=0.8)
    assert found.futile
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "purchases" in found.reason


def test_harm_of_one_of_two_metrics_has_half_of_alpha() -> None:
    rows = crowd(1_200, canary_clicks=0.36, stable_clicks=0.5)
    first = MetricPlan(name="engagement", margin=0.1)
    alone, beside = scope(alpha=0.05), scope(alpha=0.05, metrics=(PURCHASES,))
    halved = scope(alpha=0.025)
    outcomes = visitor_outcomes(rows.logs(), alone)
    found = [judge_metric(of, first, outcomes).outcome for of in (alone, beside, halved)]
    assert found[1] is found[2]
    from recsys_assets.rollout.metric_quality import quality_path

    bounds = [
        float(quality_path(of, outcomes, factor=0.9, alpha=a).high[-1]) for of, a in ((alone, 0.05), (beside, 0.025))
    ]
    assert bounds[0] < bounds[1]


@pytest.mark.parametrize(("n", "judged"), [(2 * BURN_IN - 2, False), (2 * BURN_IN, True)])
def test_harm_is_not_said_before_the_burn_in(n: int, judged: bool) -> None:
    rows = crowd(n, canary_clicks=0.0, stable_clicks=1.0)
    rows.feedback = [e for i, e in enumerate(rows.feedback) if i % 7]
    found = {v.check: v for v in judge(rows.logs(), scope())}[QUALITY]
    assert (found.outcome is Outcome.FAIL) is judged, found.reason
    assert ("too little" in found.reason) is not judged


def test_a_pass_needs_the_planned_visitors_in_both_arms() -> None:
    rows = crowd(2_000, canary_clicks=0.9, stable_clicks=0.5)
    few, enough = scope(min_visitors_per_arm=1_001), scope(min_visitors_per_arm=900)
    found = [{v.check: v for v in judge(rows.logs(), of)}[QUALITY].outcome for of in (few, enough)]
    assert found == [Outcome.INCONCLUSIVE, Outcome.PASS]


def test_a_look_that_came_late_sees_the_pass_that_an_earlier_look_saw() -> None:
    rows = crowd(4_000, canary_clicks=0.7, stable_clicks=0.5, seconds=60)
    early, late = scope(now=40), scope(now=70)
    found = [{v.check: v for v in judge(rows.logs(), of)}[QUALITY].outcome for of in (early, late)]
    assert found == [Outcome.PASS, Outcome.PASS]


def test_a_plan_of_before_still_reads_and_means_what_it_meant() -> None:
    old = plan().model_dump(mode="json")
    for added in ("metrics", "power", "history_seconds", "max_error_rate_ratio", "latency_limits"):
        del old[added]
    read = AnalysisPlan.model_validate(old)
    assert read == plan()
    assert read.all_metrics == (MetricPlan(name="engagement", margin=0.1),)
    assert read.power is None


def test_a_plan_with_everything_in_it_survives_its_json() -> None:
    full = plan(metrics=(PURCHASES,), power=0.9, latency_limits=(LatencyLimit(quantile=0.5, max_ratio=1.5),))
    assert AnalysisPlan.model_validate_json(full.model_dump_json()) == full
    assert [m.name for m in full.all_metrics] == ["engagement", "purchases"]


def test_a_plan_may_say_itself_what_its_first_metric_is() -> None:
    named = plan(metric="purchases", metrics=(MetricPlan(name="clicks", margin=0.3), PURCHASES))
    assert [m.name for m in named.all_metrics] == ["purchases", "clicks"]
    assert named.all_metrics[0] == PURCHASES


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metric": "purchase"}, "purchase"),
        ({"metrics": (PURCHASES, PURCHASES)}, "purchases"),
        ({"metrics": ({"name": "Not A Name", "margin": 0.1},)}, "name"),
        ({"metrics": ({"name": "m", "margin": 0.0},)}, "margin"),
        ({"metrics": ({"name": "m", "margin": 1.0},)}, "margin"),
        ({"metrics": ({"name": "m", "margin": 0.1, "cap": 0},)}, "cap"),
        ({"metrics": ({"name": "m", "margin": 0.1, "statistic": "mean"},)}, "statistic"),
        ({"power": 0.4}, "power"),
        ({"power": 1.0}, "power"),
        ({"history_seconds": -1.0}, "history_seconds"),
        ({"max_error_rate_ratio": 1.0}, "max_error_rate_ratio"),
        ({"latency_limits": ({"quantile": 1.0, "max_ratio": 2.0},)}, "quantile"),
        ({"latency_limits": ({"quantile": 0.5, "max_ratio": 1.0},)}, "max_ratio"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        plan(**changes)
