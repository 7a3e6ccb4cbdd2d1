"""What the UI shows about a load of items or users: check results and metadata.

Here: turning what was found into Dagster's results. Not here: any judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from recsys_assets.interactions.contract import Violation
from recsys_assets.interactions.report import violations_table

FOUND_SHOWN = 3


def checks_of(name: str) -> dict[str, tuple[str, ...]]:
    """The checks of `items` or of `users`, each with the rules of the contract that it is about."""
    one = name.removesuffix("s")
    return {
        f"{name}_schema_is_valid": ("unreadable", "schema", "type"),
        f"{name}_have_no_nulls": ("null",),
        f"{name}_are_in_range": ("range",),
        f"{name}_are_not_duplicated": ("duplicate",),
        f"{name}_are_not_from_the_future": ("future",),
        f"{one}_volume_is_usual": ("empty", "volume"),
        matching_check(name): ("unmatched",),
    }


def matching_check(name: str) -> str:
    """The check that compares identifiers with those of the interactions."""
    return f"{name.removesuffix('s')}_ids_match_interactions"


def results(
    name: str,
    found: Sequence[Violation],
    *,
    judged: str,
    waived: Sequence[Violation] = (),
    unknown: Mapping[str, str] | None = None,
) -> Iterator[dg.AssetCheckResult]:
    """One result for each check. `judged` says what was looked at; it is empty where nothing could be. `unknown` says,
    by check, why there was nothing to judge it by: such a check does not pass, and does not stop the load either."""
    for check, rules in checks_of(name).items():
        broken = [each for each in found if each.rule.value in rules]
        excused = [each for each in waived if each.rule.value in rules]
        metadata: dict[str, Any] = {"violations": len(broken)}
        severity = dg.AssetCheckSeverity.ERROR
        if broken:
            description, metadata["table"] = _named(broken), violations_table(broken)
        elif not judged:
            description = "INCONCLUSIVE: the file could not be read, so nothing was judged"
        elif check in (unknown or {}):
            description, severity = f"INCONCLUSIVE: {(unknown or {})[check]}", dg.AssetCheckSeverity.WARN
        else:
            description = f"{judged}: nothing breaks {', '.join(rules)}"
            description += f"; accepted by the run's configuration: {_named(excused)}" if excused else ""
        passed = bool(judged) and not broken and check not in (unknown or {})
        yield dg.AssetCheckResult(
            check_name=check, passed=passed, severity=severity, description=description, metadata=metadata
        )


def metadata_of(frame: pl.DataFrame, version: int, digest: str) -> dict[str, Any]:
    """Row count, columns, how much of each is known."""
    known = {name: f"{1 - frame[name].null_count() / max(frame.height, 1):.1%}" for name in frame.columns}
    columns = [dg.TableColumn(name, str(dtype), f"{known[name]} known") for name, dtype in frame.schema.items()]
    return {
        "dagster/row_count": frame.height,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "table_version": version,
        "digest": digest,
    }


def _named(found: Sequence[Violation]) -> str:
    more = f"; and {len(found) - FOUND_SHOWN} more" if len(found) > FOUND_SHOWN else ""
    return "; ".join(map(str, found[:FOUND_SHOWN])) + more
