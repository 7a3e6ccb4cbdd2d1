"""The asset `evaluation_report` with its blocking checks.

Here: reading the world, calling the pure room, writing verdict and report. Not here: a rule or a metric.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.evaluation.check_names import EVALUATION_REPORT, described
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.evaluation.evaluate import Evaluation
    from recsys_assets.evaluation.report import Row


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The room's one asset."""
    specs = [
        dg.AssetCheckSpec(name, asset=EVALUATION_REPORT, blocking=True, description=asserts)
        for name, asserts in described(settings.gate.metric).items()
    ]

    @dg.asset(
        name=EVALUATION_REPORT,
        group_name="evaluation",
        deps=["ranker_model"],
        check_specs=specs,
        kinds={"evidently", "polars"},
        owners=["team:recommender"],
    )
    @one_writer(settings, EVALUATION_REPORT)
    def evaluation_report(tables: TablesResource, registry: ModelRegistryResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """How the challenger ranks on days it has not seen, beside the champion and the baselines.

        Grain: one evaluation of one model version; its rows (not kept) are test users. The challenger's and the
        champion's holdout models rank the whole catalogue for the users of the last `test_days` before the challenger's
        `as_of`. As fresh as the challenger. Each check is a verdict on exactly this version; the verdict over all of
        them is written into the registry.
        """
        challenger = registry.challenger()
        if challenger is None:
            raise dg.Failure("no challenger is registered, so there is nothing to evaluate: materialize ranker_model")
        # Until a verdict replaces it: an evaluator that dies must not leave an earlier PASS of this version behind.
        registry.write_verdict(challenger.version, _unfinished(challenger))
        evaluation, verdicts = _judged(settings, tables, registry, challenger)
        metadata = _present(settings, registry, challenger, evaluation, verdicts)
        registry.write_verdict(challenger.version, _overall(challenger, verdicts))
        return dg.MaterializeResult(metadata=metadata, check_results=[check_result(v) for v in verdicts])

    return [evaluation_report]


def build_jobs(settings: Settings) -> list[Any]:
    """`evaluate`: the report of the newest challenger, by itself."""
    chosen = dg.AssetSelection.assets(EVALUATION_REPORT)
    return [
        dg.define_asset_job("evaluate", selection=chosen, description="Judge the challenger on days it has not seen.")
    ]


def _unfinished(challenger: ModelVersion) -> Verdict:
    return Verdict(
        check=EVALUATION_REPORT,
        model_version=challenger.version,
        outcome=Outcome.INCONCLUSIVE,
        reason="the evaluation has started and has not finished",
    )


def _overall(challenger: ModelVersion, verdicts: "Sequence[Verdict]") -> Verdict:
    from recsys_assets.evaluation.gate import overall

    return overall(challenger.version, verdicts)


def _judged(
    settings: Settings, tables: TablesResource, registry: ModelRegistryResource, challenger: ModelVersion
) -> "tuple[Evaluation, tuple[Verdict, ...]]":
    import polars as pl

    from recsys_assets.columns import EVENT_TIME
    from recsys_assets.evaluation.gate import judge
    from recsys_assets.evaluation.holdouts import evaluate_version
    from recsys_assets.signing import public_key

    # The pinned version: the same model is judged on the same events however often it is judged.
    pinned = challenger.table_versions.get("interactions")
    events = tables.scan("interactions", version=pinned).filter(pl.col(EVENT_TIME) < challenger.as_of).collect()
    evaluation = evaluate_version(
        challenger,
        registry.champion(),
        interactions=events,
        holdouts=settings.path("holdouts"),
        public_key=public_key(settings.path("keys")),
        gate=settings.gate,
    )
    return evaluation, judge(evaluation, settings.gate)


def _present(
    settings: Settings,
    registry: ModelRegistryResource,
    challenger: ModelVersion,
    evaluation: "Evaluation",
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    from recsys_assets.evaluation import report
    from recsys_assets.evaluation.gate import overall
    from recsys_assets.resources.pages import report_links

    version = evaluation.model_version
    path = settings.path("reports", version, "evaluation.html")
    report.write_html(evaluation, verdicts, settings.gate, path, model_name=challenger.name)
    metrics = report.metric_rows(evaluation, settings.gate)
    picture = report.as_markdown(report.plot_png(evaluation, settings.gate), f"{settings.gate.metric} by model")
    numbers = {
        str(row["metric"]): row["value"] for row in metrics if row["model"] == "challenger" and row["value"] is not None
    }
    return {
        "model_version": version,
        "outcome": overall(version, verdicts).outcome.value,
        "champion_version": evaluation.reference.version or "none",
        "test_window": f"[{evaluation.cut:%Y-%m-%d}, {evaluation.as_of:%Y-%m-%d})",
        "dagster/row_count": evaluation.users,
        "verdicts": _table(report.verdict_rows(verdicts)),
        "metrics": _table(metrics),
        "slices": _table(report.slice_rows(evaluation, settings.gate)),
        "plot": dg.MetadataValue.md(picture),
        **report_links(settings, registry, path, name="report", run_id=challenger.run_id),
        **numbers,
    }


def _table(rows: "Sequence[Row]") -> dg.MetadataValue:
    """A table; a number that is absent is shown as empty text, because a table's cells have no null."""
    kept = [dg.TableRecord({k: "" if v is None else _short(v) for k, v in row.items()}) for row in rows]
    return dg.MetadataValue.table(kept, schema=_schema(rows))


def _short(value: str | float | int) -> str | float | int:
    return round(value, 5) if isinstance(value, float) else value


def _schema(rows: "Sequence[Row]") -> dg.TableSchema:
    kinds = {True: "float", False: "string"}
    first = rows[0] if rows else {}
    return dg.TableSchema([dg.TableColumn(name, kinds[isinstance(value, float)]) for name, value in first.items()])
