"""Gates across runs: a verdict written as an asset check's result, and read back for one exact model version.

Here: the two directions between Verdict and Dagster's check records. Not here: any judgement on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.records import Measurement, Outcome, Verdict

if TYPE_CHECKING:
    from dagster import AssetCheckEvaluation, AssetCheckExecutionRecord

MODEL_VERSION = "model_version"
OUTCOME = "outcome"


def check_result(
    verdict: Verdict,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """The check result that `read_gate` understands. INCONCLUSIVE fails the check like FAIL, but says so."""
    return dg.AssetCheckResult(
        check_name=verdict.check,
        passed=verdict.passed,
        severity=severity,
        description=verdict.reason,
        metadata={
            **(metadata or {}),
            MODEL_VERSION: verdict.model_version,
            OUTCOME: verdict.outcome.value,
            "measurements": dg.MetadataValue.json([m.model_dump() for m in verdict.measurements]),
        },
    )


def read_gate(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey | str,
    check_names: Sequence[str],
    model_version: str,
) -> Verdict:
    """Read the latest record of every named check again, and pass only when all passed for this version.

    `blocking=True` holds within one run; this holds across runs. FAIL where a check failed; INCONCLUSIVE where
    one is absent, planned (it crashed or still runs), about another version, or older than the asset's latest
    materialization.
    """
    key = _key(asset_key)
    found = read_checks(instance, key, check_names, model_version)
    bad = [v for v in found if not v.passed]
    if not found:
        overall, reason = Outcome.INCONCLUSIVE, "no checks were named, so nothing was proven"
    elif bad:
        failed = any(v.outcome is Outcome.FAIL for v in bad)
        overall = Outcome.FAIL if failed else Outcome.INCONCLUSIVE
        reason = "; ".join(f"{v.check}: {v.outcome.value}: {v.reason}" for v in bad)
    else:
        overall, reason = Outcome.PASS, f"all {len(found)} checks passed for version {model_version}"
    return Verdict(check=key.to_user_string(), model_version=str(model_version), outcome=overall, reason=reason)


def read_checks(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey | str,
    check_names: Sequence[str],
    model_version: str,
) -> list[Verdict]:
    """The same one by one: what each named check says of this version, with the numbers that it kept."""
    key, version = _key(asset_key), str(model_version)
    newest = instance.get_latest_materialization_event(key)
    newest_at = newest.timestamp if newest else math.inf
    found = []
    for name in check_names:
        outcome, reason, numbers = _read(instance, dg.AssetCheckKey(key, name), version, newest_at)
        found.append(Verdict(check=name, model_version=version, outcome=outcome, reason=reason, measurements=numbers))
    return found


def _key(asset_key: dg.AssetKey | str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(asset_key) if isinstance(asset_key, str) else asset_key


def _read(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, version: str, newest_at: float
) -> tuple[Outcome, str, tuple[Measurement, ...]]:
    record = instance.get_latest_asset_check_evaluation_record(key)
    if record is None:
        return Outcome.INCONCLUSIVE, "has never run", ()
    evaluation = _finished(record)
    if evaluation is None:
        return Outcome.INCONCLUSIVE, f"was planned in run {record.run_id} and has no result", ()
    judged = _text(evaluation, MODEL_VERSION)
    if judged != version:
        return Outcome.INCONCLUSIVE, f"the latest result is about version {judged or '(none)'}, not {version}", ()
    target = evaluation.target_materialization_data
    if target is None or target.timestamp < newest_at:
        return Outcome.INCONCLUSIVE, "the asset was materialized again since, or never, without this check", ()
    return (*_judge(evaluation), _measurements(evaluation))


def _finished(record: AssetCheckExecutionRecord) -> AssetCheckEvaluation | None:
    """A check that raised keeps the status PLANNED, and its event is a plan without `passed`."""
    status = record.status.value
    return record.evaluation if status in {"SUCCEEDED", "FAILED"} else None


def _judge(evaluation: AssetCheckEvaluation) -> tuple[Outcome, str]:
    said = _text(evaluation, OUTCOME)
    why = evaluation.description or "no reason given"
    if not evaluation.passed:
        return (Outcome.INCONCLUSIVE if said == Outcome.INCONCLUSIVE.value else Outcome.FAIL), why
    if said not in {None, Outcome.PASS.value}:
        return Outcome.INCONCLUSIVE, f"the check passed although its outcome says {said}"
    return Outcome.PASS, why


def _text(evaluation: AssetCheckEvaluation, name: str) -> str | None:
    value = evaluation.metadata.get(name)
    return None if value is None else str(value.value)


def _measurements(evaluation: AssetCheckEvaluation) -> tuple[Measurement, ...]:
    kept = evaluation.metadata.get("measurements")
    rows = kept.value if isinstance(kept, dg.JsonMetadataValue) and isinstance(kept.value, list) else []
    return tuple(Measurement.model_validate(row) for row in rows)
