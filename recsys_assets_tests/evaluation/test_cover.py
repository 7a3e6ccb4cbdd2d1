"""The cover of the evaluation report: what stands on it, and that nothing in it can become markup."""

from __future__ import annotations

import pytest

from recsys_assets.evaluation.cover import with_cover
from recsys_assets.page_titles import NoBodyError

VERDICTS = [{"check": "ndcg_at_10_not_below_champion", "outcome": "FAIL", "reason": "0.1 < 0.2 & more"}]
METRICS = [{"model": "challenger", "metric": "ndcg_at_10", "value": 0.25, "low": None}]


def covered(page: str) -> str:
    return with_cover(page, title="v<2>", compared="10 users", verdicts=VERDICTS, metrics=METRICS, plot_png=b"png")


def test_the_cover_stands_at_the_top_of_the_body_and_keeps_the_page() -> None:
    page = covered('<html><body class="x"><div id="root"></div></body></html>')
    assert page.index('<body class="x">') < page.index('class="cover"') < page.index('<div id="root">')
    assert page.endswith('<div id="root"></div></body></html>')


def test_values_are_escaped_and_numbers_are_rounded() -> None:
    page = covered("<body></body>")
    assert "v&lt;2&gt;" in page
    assert "0.1 &lt; 0.2 &amp; more" in page
    assert "<td>0.2500</td><td></td>" in page


def test_a_failed_verdict_is_red() -> None:
    assert '<td class="outcome" style="color:#b91c1c">FAIL</td>' in covered("<body></body>")


def test_a_page_without_a_body_is_an_error_and_not_a_page_without_verdicts() -> None:
    with pytest.raises(NoBodyError):
        covered("<p>nothing</p>")
