"""What `read_gate` answers over a real instance, for every way in which a check can have ended.

Here: the gate read across runs. Not here: what a check judges.
"""

from typing import Any

import dagster as dg
import pytest

from recsys_assets.records import Outcome, Verdict
from recsys_assets.resources.gates import check_result, read_gate


class Told(dg.Config):
    version: str = "1"
    good: str = "PASS"
    other: str = "PASS"
    crash: bool = False


def verdict(check: str, told: Told, outcome: str) -> Verdict:
    return Verdict(check=check, model_version=told.version, outcome=Outcome(outcome), reason=f"{check} says {outcome}")


@dg.asset(check_specs=[dg.AssetCheckSpec(n, asset="report", blocking=True) for n in ("good", "other")])
def report(config: Told) -> dg.MaterializeResult:
    if config.crash:
        raise ValueError("the evaluator crashed")
    return dg.MaterializeResult(
        check_results=[
            check_result(verdict("good", config, config.good)),
            check_result(verdict("other", config, config.other)),
        ]
    )


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, **told: object) -> None:
    dg.materialize([report], instance=instance, run_config={"ops": {"report": {"config": told}}}, raise_on_error=False)


def gate(instance: dg.DagsterInstance, version: str = "1", checks: tuple[str, ...] = ("good", "other")) -> Verdict:
    return read_gate(instance, "report", checks, version)


def test_all_checks_passed_for_this_version_is_a_pass(instance: dg.DagsterInstance) -> None:
    run(instance)
    assert gate(instance).outcome is Outcome.PASS


def test_one_failed_check_fails_the_gate_and_is_named_with_its_reason(instance: dg.DagsterInstance) -> None:
    run(instance, other="FAIL")
    read = gate(instance)
    assert read.outcome is Outcome.FAIL
    assert "other: FAIL: other says FAIL" in read.reason
    assert "good" not in read.reason


def test_an_inconclusive_check_holds_but_is_not_called_a_failure(instance: dg.DagsterInstance) -> None:
    run(instance, other="INCONCLUSIVE")
    assert gate(instance).outcome is Outcome.INCONCLUSIVE


def test_a_failure_outweighs_an_inconclusive_check(instance: dg.DagsterInstance) -> None:
    run(instance, good="INCONCLUSIVE", other="FAIL")
    assert gate(instance).outcome is Outcome.FAIL


def test_a_check_that_never_ran_is_inconclusive(instance: dg.DagsterInstance) -> None:
    assert gate(instance).outcome is Outcome.INCONCLUSIVE
    run(instance)
    read = gate(instance, checks=("good", "other", "third"))
    assert read.outcome is Outcome.INCONCLUSIVE
    assert "third" in read.reason


def test_a_pass_of_another_version_does_not_count(instance: dg.DagsterInstance) -> None:
    run(instance, version="1")
    run(instance, version="2")
    assert gate(instance, "2").outcome is Outcome.PASS
    assert gate(instance, "1").outcome is Outcome.INCONCLUSIVE


def test_an_evaluator_that_crashed_leaves_no_pass_behind(instance: dg.DagsterInstance) -> None:
    run(instance)
    run(instance, crash=True)
    read = gate(instance)
    assert read.outcome is Outcome.INCONCLUSIVE
    assert "planned" in read.reason


def test_a_result_older_than_the_asset_is_stale(instance: dg.DagsterInstance) -> None:
    run(instance)
    instance.report_runless_asset_event(dg.AssetMaterialization("report"))
    read = gate(instance)
    assert read.outcome is Outcome.INCONCLUSIVE
    assert "materialized again" in read.reason


def test_a_pass_that_contradicts_its_own_outcome_is_inconclusive(instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("report"),
            check_name="good",
            passed=True,
            metadata={"model_version": "1", "outcome": "INCONCLUSIVE"},
        )
    )
    assert gate(instance, checks=("good",)).outcome is Outcome.INCONCLUSIVE


def test_a_pass_without_a_version_does_not_count(instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=dg.AssetKey("report"), check_name="good", passed=True, metadata={})
    )
    assert gate(instance, checks=("good",)).outcome is Outcome.INCONCLUSIVE


def test_a_gate_without_checks_proves_nothing(instance: dg.DagsterInstance) -> None:
    run(instance)
    assert gate(instance, checks=()).outcome is Outcome.INCONCLUSIVE
