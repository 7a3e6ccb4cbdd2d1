"""The first page of the evaluation report: verdicts, the plot and the metrics, put above Evidently's distributions.

Here: static HTML from rows that report.py made, every value escaped. Not here: numbers, rules, Evidently.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from recsys_assets.page_titles import at_the_top, with_title

Cell = str | float | int | None
COLOURS = {"PASS": "#15803d", "FAIL": "#b91c1c", "INCONCLUSIVE": "#b45309"}
STYLE = """<style>
 .cover { font-family: Helvetica, Arial, sans-serif; max-width: 1180px; margin: 32px auto; padding: 0 24px 24px }
 .cover { color: #0f172a; background: #fff }
 .cover h1 { font-size: 26px; margin: 0 0 4px } .cover h2 { font-size: 18px; margin: 28px 0 8px }
 .cover p { color: #475569; margin: 4px 0 } .cover table { border-collapse: collapse; width: 100%; font-size: 14px }
 .cover td, .cover th { text-align: left; padding: 6px 10px; border-bottom: 1px solid #e2e8f0; vertical-align: top }
 .cover img { max-width: 100% } .cover .outcome { font-weight: 700 }
</style>"""


def with_cover(
    page: str,
    *,
    title: str,
    compared: str,
    verdicts: Sequence[Mapping[str, Cell]],
    metrics: Sequence[Mapping[str, Cell]],
    plot_png: bytes,
) -> str:
    """The page with this title, and the cover at the top of its body."""
    picture = base64.b64encode(plot_png).decode()
    cover = "\n".join(
        [
            f'{STYLE}<section class="cover"><h1>{escape(title)}</h1><p>{escape(compared)}</p>',
            f"<h2>Verdicts</h2>{_table(verdicts)}",
            f'<h2>By model and segment</h2><img alt="metric with intervals" src="data:image/png;base64,{picture}">',
            f"<h2>Metrics</h2>{_table(metrics)}",
            "<h2>How the users' values are distributed</h2>",
            "<p>Evidently's comparison of the per-user numbers. It informs; the verdicts above decide.</p></section>",
        ]
    )
    return at_the_top(with_title(page, title), cover)


def _table(rows: Sequence[Mapping[str, Cell]]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = ("<tr>" + "".join(_cell(name, value) for name, value in row.items()) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _cell(name: str, value: Cell) -> str:
    if isinstance(value, float):
        return f"<td>{value:.4f}</td>"
    text = "" if value is None else escape(str(value))
    if name == "outcome" and text in COLOURS:
        return f'<td class="outcome" style="color:{COLOURS[text]}">{text}</td>'
    return f"<td>{text}</td>"
