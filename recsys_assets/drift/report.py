"""What people look at: the table and plot of our distances, and Evidently's pages, one for each table.

Here: presentation. Not here: the verdict, which detector.py makes and which never reads Evidently's.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import polars as pl

from recsys_assets.drift.detector import MIN_ROWS, DriftReport
from recsys_assets.drift.windows import Compared
from recsys_assets.page_titles import at_the_top, with_title
from recsys_assets.settings import DriftSettings

MOST_ROWS = 20_000
Row = dict[str, str | float | int]


def shift_rows(report: DriftReport) -> list[Row]:
    """One row for each feature, farthest first; a feature without enough rows stands last, with empty numbers."""
    drifted = {shift.feature for shift in report.drifted}
    ordered = sorted(report.shifts, key=lambda s: (s.distance is None, -(s.distance or 0.0), s.feature))
    return [
        {
            "feature": s.feature,
            "kind": s.kind,
            "distance": "" if s.distance is None else round(s.distance, 4),
            "psi": "" if s.psi is None else round(s.psi, 4),
            "drifted": "yes" if s.feature in drifted else "no",
            "rows_reference": s.n_reference,
            "rows_current": s.n_current,
        }
        for s in ordered
    ]


def plot_markdown(report: DriftReport) -> str:
    """Distances against the limit, the twenty farthest features, as a picture within metadata."""
    from matplotlib.figure import Figure

    ordered = sorted(report.compared, key=lambda s: -(s.distance or 0.0))[:20]
    figure = Figure(figsize=(8, 0.28 * len(ordered) + 1.2), layout="constrained")
    axis = figure.subplots()
    colors = ["tab:red" if (s.distance or 0.0) > report.max_distance else "tab:gray" for s in ordered]
    axis.barh([s.feature for s in ordered], [s.distance or 0.0 for s in ordered], color=colors)
    axis.axvline(report.max_distance, color="black", linewidth=1)
    axis.set_xlabel("distance, chance taken off")
    axis.invert_yaxis()
    axis.tick_params(labelsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return f"![drift](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def title_of(table: str, report: DriftReport) -> str:
    """Which table, which days, and the model that knows the days before them."""
    days = f"{report.current_from:%Y-%m-%d} to {report.as_of:%Y-%m-%d}"
    champion = f", champion version {report.champion_version}" if report.champion_version else ", no champion yet"
    return f"Drift of {table}, {days}{champion}"


def write_html(
    tables: Sequence[Compared], folder: Path, settings: DriftSettings, report: DriftReport
) -> dict[str, Path]:
    """Evidently's page of each table that has enough rows on both sides, by table name."""
    kept = [t for t in tables if min(t.reference.height, t.current.height) >= MIN_ROWS and t.features]
    folder.mkdir(parents=True, exist_ok=True)
    return {t.name: _page(t, folder / f"{t.name}.html", settings, title_of(t.name, report)) for t in kept}


def _page(table: Compared, path: Path, settings: DriftSettings, title: str) -> Path:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [c for c in table.features if table.reference.schema[c].is_numeric()]
    categories = [c for c in table.features if c not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    preset = DataDriftPreset(
        num_method="wasserstein",
        cat_method="jensenshannon",
        num_threshold=settings.max_distance,
        cat_threshold=settings.max_distance,
        drift_share=settings.max_drifted_share,
    )
    current, reference = (
        Dataset.from_pandas(_sample(rows, table.features).to_pandas(), data_definition=definition)
        for rows in (table.current, table.reference)
    )
    snapshot = Report([preset], include_tests=True).run(current, reference)
    aside = path.with_suffix(".part")
    snapshot.save_html(str(aside))
    page = with_title(aside.read_text(encoding="utf-8"), title)
    heading = f'<h1 style="font-family: Helvetica, Arial, sans-serif; margin: 24px">{escape(title)}</h1>'
    aside.write_text(at_the_top(page, heading), encoding="utf-8")
    return aside.rename(path)


def _sample(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    kept = rows.select(columns)
    return kept if kept.height <= MOST_ROWS else kept.sample(MOST_ROWS, seed=7)
