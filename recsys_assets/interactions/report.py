"""What the UI shows about days taken in: check results, tables, a plot.

Here: turning an Intake into Dagster's results. Not here: any judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
import polars as pl

from recsys_assets.columns import DAY, ITEM, USER
from recsys_assets.interactions.contract import Violation
from recsys_assets.interactions.intake import Intake
from recsys_assets.interactions.plots import events_by_day

_SHOWN_ROWS: Final = 50
_SHOWN_DAYS: Final = 400


def materialization(intake: Intake, checks: Mapping[str, Sequence[str]], all_read: str) -> dg.MaterializeResult[Any]:
    """Metadata and one result for each check; `checks` maps a check to the rules it is about."""
    good = intake.good_rows
    stored = dict(good.group_by(DAY).agg(pl.len().cast(pl.Int64)).sort(DAY).iter_rows())
    metadata: dict[str, Any] = {
        "dagster/row_count": good.height,
        "rows": good.height,
        "users": good[USER].n_unique(),
        "items": good[ITEM].n_unique(),
        "files": len(intake.all_files),
        "rows_left_out": intake.read_rows - intake.rows.height,
        "files_not_read": [str(each) for each in intake.unread[:_SHOWN_ROWS]],
        "days_in_quarantine": [day.isoformat() for day in intake.blocked_days],
        "days": _days_table(intake, stored),
        "events_by_day": dg.MetadataValue.md(events_by_day(stored, dict.fromkeys(intake.blocked_days, 0))),
    }
    results = [*(_check(intake, name, rules) for name, rules in checks.items()), _all_read(intake, all_read)]
    return dg.MaterializeResult(metadata=metadata, check_results=results)


def _all_read(intake: Intake, name: str) -> dg.AssetCheckResult:
    """A warning: a log that cannot be read holds nobody knows which days."""
    more = f"; and {len(intake.unread) - 3} more" if len(intake.unread) > 3 else ""
    return dg.AssetCheckResult(
        check_name=name,
        passed=not intake.unread,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(map(str, intake.unread[:3])) + more or "every file that the patterns find was read",
    )


def _check(intake: Intake, name: str, rules: Sequence[str]) -> dg.AssetCheckResult:
    found = [violation for violation in intake.violations if violation.rule.value in rules]
    blind = intake.judged_files == 0 and not found
    if found:
        description = "; ".join(str(violation) for violation in found[:3])
        description += f"; and {len(found) - 3} more" if len(found) > 3 else ""
    elif blind:
        description = "INCONCLUSIVE: no file of this run could be read, so nothing was judged"
    else:
        description = f"{intake.judged_files} files, {intake.read_rows} rows: nothing breaks {', '.join(rules)}"
        description += _volume_basis(intake) if "volume" in rules else ""
    metadata: dict[str, Any] = {"violations": len(found)}
    if found:
        metadata["table"] = violations_table(found)
    return dg.AssetCheckResult(
        check_name=name,
        passed=not found and not blind,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata=metadata,
    )


def _volume_basis(intake: Intake) -> str:
    unjudged = [day.isoformat() for day, basis in intake.basis.items() if basis.startswith("first day")]
    return f" (not compared, being the first with rows: {', '.join(unjudged)})" if unjudged else ""


def violations_table(found: Sequence[Violation]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {
                "file": each.file,
                "row": each.row if each.row is not None else "",
                "column": each.column or "",
                "rule": each.rule.value,
                "value": each.value or "",
                "reason": each.reason,
                "rows in all": each.total,
            }
        )
        for each in found[:_SHOWN_ROWS]
    ]
    columns = [dg.TableColumn(name, "string") for name in ("file", "row", "column", "rule", "value", "reason")]
    schema = dg.TableSchema(columns=[*columns, dg.TableColumn("rows in all", "int")])
    return dg.MetadataValue.table(records=records, schema=schema)


def _days_table(intake: Intake, stored: Mapping[Any, int]) -> dg.TableMetadataValue:
    blocked = set(intake.blocked_days)
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "day": day.isoformat(),
                    "rows": int(stored.get(day, 0)),
                    "files": ", ".join(file.name for file in intake.files[day]),
                    "state": "in quarantine" if day in blocked else "stored",
                    "compared with": intake.basis.get(day, ""),
                }
            )
            for day in intake.days[-_SHOWN_DAYS:]
        ]
    )
