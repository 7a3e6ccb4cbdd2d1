"""What people look at: tables of every model with intervals, a plot, and Evidently's report of the per-user numbers.

Here: presentation of an Evaluation. Not here: any rule; the verdicts are made in gate.py and never read from Evidently.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys_assets.evaluation.accuracy import reference_name
from recsys_assets.evaluation.comparison import compare, finite, mean_interval
from recsys_assets.evaluation.cover import with_cover
from recsys_assets.evaluation.evaluate import CHALLENGER, Evaluation, Scored
from recsys_assets.evaluation.metrics import metric_names
from recsys_assets.evaluation.splits import SLICES
from recsys_assets.records import Measurement, Verdict
from recsys_assets.settings import GateSettings

Row = dict[str, str | float | int | None]


def metric_rows(evaluation: Evaluation, gate: GateSettings) -> list[Row]:
    """One row for each model and metric, with the bootstrap bounds; breadth has no interval."""
    rows: list[Row] = []
    for model in evaluation.models.values():
        found = [_interval(model.rows, metric, gate) for metric in metric_names()]
        found.append(Measurement(name="catalogue_coverage", value=model.coverage, n=model.rows.height))
        found.append(Measurement(name="slots_outside_top_10", value=model.slots_outside_top, n=model.rows.height))
        rows += [_row(model.name, m) for m in found]
    return rows


def slice_rows(evaluation: Evaluation, gate: GateSettings) -> list[Row]:
    """One row for each segment and model: the gate's metric, and how the challenger stands to that model."""
    rows: list[Row] = []
    for part in SLICES:
        ours = evaluation.models[CHALLENGER].slices[part]
        for model in evaluation.models.values():
            theirs = model.slices[part]
            against = compare(ours, theirs, gate.metric, alpha=gate.alpha, samples=gate.bootstrap_samples)
            row = _row(model.name, _interval(theirs, gate.metric, gate))
            row = {"slice": part, **row, "challenger_relative": None if against is None else finite(against.relative)}
            rows.append(row)
    return rows


def verdict_rows(verdicts: Sequence[Verdict]) -> list[Row]:
    """One row for each check."""
    return [{"check": v.check, "outcome": v.outcome.value, "reason": v.reason} for v in verdicts]


def plot_png(evaluation: Evaluation, gate: GateSettings) -> bytes:
    """The gate's metric of every model with its interval: all users, then each segment."""
    from matplotlib.figure import Figure

    names = list(evaluation.models)
    figure = Figure(figsize=(3.2 * (1 + len(SLICES)), 0.45 * len(names) + 1.4), layout="constrained")
    axes = figure.subplots(1, 1 + len(SLICES), sharey=True)
    for axis, part in zip(axes, ("all users", *SLICES), strict=True):
        for place, name in enumerate(names):
            model = evaluation.models[name]
            found = _interval(model.slices.get(part, model.rows), gate.metric, gate)
            if found.value is None or found.low is None or found.high is None:
                continue
            color = "tab:blue" if name == CHALLENGER else "tab:gray"
            axis.barh(place, found.value, color=color)
            axis.plot([found.low, found.high], [place, place], color="black", linewidth=1.5)
        axis.set_title(part, fontsize=9)
        axis.set_xlabel(gate.metric, fontsize=8)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def as_markdown(png: bytes, title: str) -> str:
    """A picture that Dagster shows within metadata."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def title_of(evaluation: Evaluation, model_name: str) -> str:
    """Which model was judged, on events up to when."""
    return f"Evaluation of {model_name} version {evaluation.model_version} on events before {evaluation.as_of:%Y-%m-%d}"


def write_html(
    evaluation: Evaluation, verdicts: Sequence[Verdict], gate: GateSettings, path: Path, *, model_name: str
) -> Path:
    """Our verdicts and metrics, then Evidently's view of the per-user numbers: challenger (current) against reference.

    Distances, not p values: with enough users every difference is significant.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    names = list(metric_names())
    reference = evaluation.models.get(reference_name(evaluation))
    definition = DataDefinition(numerical_columns=names)
    current = _dataset(Dataset, definition, evaluation.models[CHALLENGER], names)
    before = None if reference is None else _dataset(Dataset, definition, reference, names)
    presets = [DataSummaryPreset()] if before is None else [DataDriftPreset(method="wasserstein"), DataSummaryPreset()]
    snapshot = Report(
        presets,
        metadata={
            "model_version": evaluation.model_version,
            "reference": "none"
            if reference is None
            else f"{reference.name} {evaluation.reference.version or ''}".strip(),
            **{v.check: v.outcome.value for v in verdicts},
        },
        tags=["recsys_assets", f"model_version:{evaluation.model_version}"],
    ).run(current, before)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    snapshot.save_html(str(aside))
    against = "nothing to compare with" if reference is None else f"against {reference.name}"
    page = with_cover(
        aside.read_text(encoding="utf-8"),
        title=title_of(evaluation, model_name),
        compared=f"{evaluation.models[CHALLENGER].rows.height} test users, {against} and the baselines",
        verdicts=verdict_rows(verdicts),
        metrics=metric_rows(evaluation, gate),
        plot_png=plot_png(evaluation, gate),
    )
    aside.write_text(page, encoding="utf-8")
    return aside.rename(path)


def _dataset(made_by: type, definition: object, model: Scored, names: list[str]) -> object:
    return made_by.from_pandas(model.rows.select(names).to_pandas(), data_definition=definition)  # type: ignore[attr-defined]


def _interval(rows: pl.DataFrame, metric: str, gate: GateSettings) -> Measurement:
    return mean_interval(rows, metric, alpha=gate.alpha, samples=gate.bootstrap_samples)


def _row(model: str, found: Measurement) -> Row:
    return {
        "model": model,
        "metric": found.name,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "users": found.n,
    }
