"""What `read_gate` answers over a real instance, for every way in which a check can have ended.

Here: the gate read across runs. Not here: what a check judges.
"""

from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.resources.gates import check_result, read_checks, read_gate


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


PASSED: dict[str, Any] = {"model_version": "1", "outcome": "PASS"}


def told(instance: dg.DagsterInstance, **metadata: Any) -> None:
    """A passing result of `good` with this metadata, about the newest materialization if there is one."""
    newest = instance.fetch_materializations(dg.AssetKey("report"), limit=1).records
    about = [
        AssetCheckEvaluationTargetMaterializationData(storage_id=r.storage_id, run_id=r.run_id, timestamp=r.timestamp)
        for r in newest
    ]
    result = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("report"),
        check_name="good",
        passed=True,
        metadata=metadata,
        target_materialization_data=about[0] if about else None,
    )
    instance.report_runless_asset_event(result)


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


def test_a_result_of_an_asset_that_was_never_materialized_does_not_count(instance: dg.DagsterInstance) -> None:
    told(instance, **PASSED)
    assert gate(instance, checks=("good",)).outcome is Outcome.INCONCLUSIVE
    instance.report_runless_asset_event(dg.AssetMaterialization("report"))
    assert gate(instance, checks=("good",)).outcome is Outcome.INCONCLUSIVE


def test_a_result_that_says_pass_version_and_what_it_looked_at_counts(instance: dg.DagsterInstance) -> None:
    run(instance)
    told(instance, **PASSED)
    assert gate(instance, checks=("good",)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "said",
    [
        {"model_version": "1", "outcome": "INCONCLUSIVE"},
        {"model_version": "1", "outcome": dg.MetadataValue.null()},
        {"model_version": dg.MetadataValue.null(), "outcome": "PASS"},
        {"outcome": "PASS"},
        {},
    ],
)
def test_a_pass_that_contradicts_itself_or_names_no_version_does_not_count(
    instance: dg.DagsterInstance, said: dict[str, Any]
) -> None:
    run(instance)
    told(instance, **said)
    assert gate(instance, checks=("good",)).outcome is Outcome.INCONCLUSIVE


def test_the_numbers_of_a_result_about_this_version_are_read_back(instance: dg.DagsterInstance) -> None:
    run(instance)
    kept = Measurement(name="users", value=94, n=94)
    kept_by_check = {"measurements": dg.MetadataValue.json([kept.model_dump()])}
    told(instance, **PASSED, **kept_by_check)
    (found,) = read_checks(instance, "report", ["good"], "1")
    assert (found.outcome, found.measurements) == (Outcome.PASS, (kept,))
    (other,) = read_checks(instance, "report", ["good"], "2")
    assert (other.outcome, other.measurements) == (Outcome.INCONCLUSIVE, ())


@pytest.mark.parametrize("numbers", ["94", dg.MetadataValue.json({"users": 94}), dg.MetadataValue.null()])
def test_numbers_of_another_shape_are_none(instance: dg.DagsterInstance, numbers: Any) -> None:
    run(instance)
    told(instance, **PASSED, measurements=numbers)
    (found,) = read_checks(instance, "report", ["good"], "1")
    assert (found.outcome, found.measurements) == (Outcome.PASS, ())


def test_what_a_check_shows_beside_its_verdict_is_kept() -> None:
    said = verdict("good", Told(), "PASS")
    assert set(check_result(said, metadata={"plot": "a picture"}).metadata) > {"plot", "model_version"}
    assert check_result(said, metadata={"model_version": "9"}).metadata["model_version"] == dg.MetadataValue.text("1")


def test_a_gate_without_checks_proves_nothing(instance: dg.DagsterInstance) -> None:
    run(instance)
    assert gate(instance, checks=()).outcome is Outcome.INCONCLUSIVE
