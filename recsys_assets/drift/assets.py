"""The asset `drift_report` with its warning, and the job that makes it by hand.

Here: reading tables and registry, calling the pure room, writing the pages. Not here: a distance or a decision.
"""

from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from recsys_assets.records import Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.resources.trying_again import failed_a_while_ago
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from recsys_assets.drift.detector import DriftReport
    from recsys_assets.drift.windows import Compared

DRIFT_REPORT: Final = "drift_report"
NOT_DRIFTED: Final = "data_has_not_drifted"
REPORT_JSON: Final = "drift"
FEATURE_TABLES: Final = ("user_features", "item_features")
TABLES: Final = ("interactions", *FEATURE_TABLES)


def new_feature_days() -> dg.AutomationCondition:  # type: ignore[type-arg]
    """True once new days of features stand, or the last report failed, and nothing upstream is still running.

    Not `eager()`: that waits until no partition of any dependency is missing, and a day that has not come yet is
    missing. Only the feature tables count, which are made last, so that a new day asks for one report, not three.
    """
    features = dg.AssetSelection.assets(*FEATURE_TABLES)
    updated = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated()).allow(features)
    return (
        (updated.since_last_handled() | failed_a_while_ago())
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The room's one asset."""

    @dg.asset(
        name=DRIFT_REPORT,
        group_name="evaluation",
        deps=list(TABLES),
        check_specs=[
            dg.AssetCheckSpec(
                NOT_DRIFTED,
                asset=DRIFT_REPORT,
                blocking=False,
                description="Fewer features moved farther than the distance than the limit allows.",
            )
        ],
        automation_condition=new_feature_days(),
        kinds={"evidently", "polars"},
        owners=["team:recommender"],
    )
    @one_writer(settings, DRIFT_REPORT)
    def drift_report(tables: TablesResource, registry: ModelRegistryResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """How far the newest days lie from those the champion knows.

        Grain: one report, one row for each compared feature. The current window is the last `current_days` of events,
        the reference the `reference_days` before it or before the champion's `as_of`. Made again when feature days
        arrive. Distances are effect sizes, so the verdict does not hang on the row count.
        """
        report, compared = _compare(settings, tables, registry)
        verdict = Verdict(
            check=NOT_DRIFTED,
            model_version=report.champion_version or "none",
            outcome=report.outcome,
            reason=report.reason,
        )
        return dg.MaterializeResult(
            metadata=_present(settings, registry, report, compared),
            check_results=[check_result(verdict, severity=dg.AssetCheckSeverity.WARN)],
        )

    return [drift_report]


def build_jobs(settings: Settings) -> "list[UnresolvedAssetJobDefinition]":
    """`watch_drift` makes the report now."""
    return [
        dg.define_asset_job(
            "watch_drift", selection=dg.AssetSelection.assets(DRIFT_REPORT), description="Compare the newest days now."
        )
    ]


def _compare(
    settings: Settings, tables: TablesResource, registry: ModelRegistryResource
) -> "tuple[DriftReport, list[Compared]]":
    from datetime import UTC, datetime, time, timedelta

    from recsys_assets.drift.windows import Windows, compared, drift_report

    days = tables.days("interactions")
    if not days:
        raise dg.Failure("the table interactions has no day yet, so there is nothing to compare")
    as_of = datetime.combine(days[-1] + timedelta(days=1), time(), UTC)
    champion = registry.champion()
    windows = Windows.of(as_of, champion.as_of if champion else None, settings.drift)
    found = [compared(name, tables.scan(name), windows, first_day=days[0]) for name in TABLES]
    return drift_report(found, windows, champion, settings.drift), found


def _present(
    settings: Settings, registry: ModelRegistryResource, report: "DriftReport", compared: "list[Compared]"
) -> dict[str, Any]:
    from recsys_assets.drift.report import plot_markdown, shift_rows, write_html
    from recsys_assets.resources.pages import report_links

    folder = settings.path("reports", "drift", f"{report.as_of:%Y-%m-%d}")
    pages = write_html(compared, folder, settings.drift, report)
    champion = registry.champion()
    run_id = None if champion is None else champion.run_id
    links: dict[str, Any] = {}
    for name, page in pages.items():
        links |= report_links(settings, registry, page, name=f"report_{name}", run_id=run_id)
    columns = {"feature": "string", "kind": "string", "distance": "float", "psi": "float", "drifted": "string"}
    columns |= {"rows_reference": "int", "rows_current": "int"}
    return {
        REPORT_JSON: dg.MetadataValue.json(report.model_dump(mode="json")),
        "outcome": report.outcome.value,
        "summary": report.reason,
        "champion_version": report.champion_version or "none",
        "reference_window": f"[{report.reference_from:%Y-%m-%d}, {report.reference_to:%Y-%m-%d})",
        "current_window": f"[{report.current_from:%Y-%m-%d}, {report.as_of:%Y-%m-%d})",
        "drifted_share": -1.0 if report.drifted_share is None else report.drifted_share,
        "dagster/row_count": len(report.shifts),
        "shifts": dg.MetadataValue.table(
            [dg.TableRecord(dict(row)) for row in shift_rows(report)],
            schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()]),
        ),
        "plot": dg.MetadataValue.md(plot_markdown(report)),
        **links,
    }
