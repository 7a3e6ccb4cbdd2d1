"""What the checks of this room say, decided on plain values: freshness, coverage, online against offline.

Here: pure judgement, where no data is INCONCLUSIVE and never a pass. Not here: reading a table or a store.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, Final

import polars as pl

from recsys_assets.columns import DAY
from recsys_assets.records import Measurement, Outcome, Verdict

FRESH: Final = "feature_rows_are_fresh"
COMPLETE: Final = "feature_coverage_is_complete"
EQUAL: Final = "online_values_equal_offline_values"

# These gates are about tables that every later model version shares.
NO_MODEL: Final = "none"

Row = Mapping[str, Any]


def freshness(newest_feature_day: date | None, newest_event_day: date | None) -> Verdict:
    """PASS when the features know the newest day of events."""
    if newest_event_day is None:
        return _verdict(FRESH, Outcome.INCONCLUSIVE, "there are no events to be fresh for")
    if newest_feature_day is None:
        return _verdict(FRESH, Outcome.INCONCLUSIVE, "there are no feature rows yet")
    behind = (newest_event_day - newest_feature_day).days
    late = Measurement(name="days_behind", value=float(behind), n=1, unit="days")
    if behind == 0:
        return _verdict(FRESH, Outcome.PASS, f"feature rows reach the newest day, {newest_event_day}", late)
    reason = f"newest feature rows are of {newest_feature_day}, newest events of {newest_event_day}"
    return _verdict(FRESH, Outcome.FAIL, reason, late)


def coverage(events: pl.DataFrame, features: pl.DataFrame, *, key: str, empty_days: Collection[date] = ()) -> Verdict:
    """PASS when each (key, day) of `events` has exactly one row in `features`, and no other (key, day) has any.

    `empty_days` are those on which nobody had events, by the record: they are told, and prove nothing by themselves.
    """
    pair = [key, DAY]
    wanted = events.select(pair).unique()
    if wanted.is_empty():
        return _verdict(COMPLETE, Outcome.INCONCLUSIVE, "there are no events to cover")
    if features.is_empty():
        return _verdict(COMPLETE, Outcome.INCONCLUSIVE, "there are no feature rows yet")
    missing = wanted.join(features, on=pair, how="anti")
    stray = features.select(pair).join(wanted, on=pair, how="anti")
    doubled = features.select(pair).filter(pl.struct(pair).is_duplicated()).unique()
    found = {"without a row": missing, "without events": stray, "with several rows": doubled}
    measured = [Measurement(name=f"pairs {what}", value=float(f.height), n=wanted.height) for what, f in found.items()]
    faults = [f"{f.height} {key} and day pairs {what}, such as {_first(f, key)}" for what, f in found.items() if len(f)]
    if faults:
        return _verdict(COMPLETE, Outcome.FAIL, "; ".join(faults), *measured)
    said = f"all {wanted.height} pairs of {key} and day have their row"
    if empty_days:
        said += f"; nobody had events on {len(empty_days)} days by the record, such as {max(empty_days)}"
    return _verdict(COMPLETE, Outcome.PASS, said, *measured)


def equality(offline: Sequence[Row], online: Sequence[Row | None], *, key: str) -> Verdict:
    """PASS when each offline row's values stand in the online row at the same place, exactly."""
    if not offline:
        return _verdict(EQUAL, Outcome.INCONCLUSIVE, "there are no offline rows to compare")
    if len(online) != len(offline):
        return _verdict(EQUAL, Outcome.INCONCLUSIVE, f"{len(online)} online answers for {len(offline)} offline rows")
    faults: list[str] = []
    for row, found in zip(offline, online, strict=True):
        wrong = sorted(name for name in row if found is None or not _same(row[name], found.get(name)))
        if wrong:
            faults.append(f"{key} {row.get(key)}: {'no row' if found is None else ', '.join(wrong)}")
    measured = Measurement(name="rows that differ", value=float(len(faults)), n=len(offline))
    if faults:
        return _verdict(EQUAL, Outcome.FAIL, f"{len(faults)} of {len(offline)} differ: {faults[0]}", measured)
    return _verdict(EQUAL, Outcome.PASS, f"{len(offline)} sampled rows are equal, value by value", measured)


def together(check: str, verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of several: the worst outcome, all reasons and numbers; no verdicts at all prove nothing."""
    order = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    worst = min((v.outcome for v in verdicts), key=order.index, default=Outcome.INCONCLUSIVE)
    reason = "; ".join(v.reason for v in verdicts) or "nothing was compared"
    return _verdict(check, worst, reason, *(m for v in verdicts for m in v.measurements))


def unavailable(check: str, why: object) -> Verdict:
    """What a gate says when it could not look."""
    return _verdict(check, Outcome.INCONCLUSIVE, f"could not look: {why}")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _first(pairs: pl.DataFrame, key: str) -> str:
    entity, day = pairs.sort(DAY, key).row(0)
    return f"{entity} on {day}"


def _verdict(check: str, outcome: Outcome, reason: str, *measured: Measurement) -> Verdict:
    return Verdict(check=check, model_version=NO_MODEL, outcome=outcome, reason=reason, measurements=measured)
