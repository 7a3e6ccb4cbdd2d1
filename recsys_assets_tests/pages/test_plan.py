"""Every command of README and docs is run by a test, or it is listed why not.

Here: that nothing is forgotten and no line is stale. Not here: running (the tests that plan.py names).
"""

from __future__ import annotations

import re

from recsys_assets_tests.pages.blocks import LANGUAGES, PAGES, REPOSITORY, Block, blocks, commands, of_block, of_page
from recsys_assets_tests.pages.plan import EXCUSED, RUN


def test_every_block_says_what_it_is() -> None:
    assert [(b.page, b.line) for b in blocks() if b.language not in LANGUAGES] == []


def test_no_command_hides_in_an_indented_block() -> None:
    fenced = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    hidden = re.compile(r"^    (\$ |recsys-assets |make |dagster |python -m |curl |kubectl |helm )", re.MULTILINE)
    for page in PAGES:
        assert hidden.findall(fenced.sub("", (REPOSITORY / page).read_text(encoding="utf-8"))) == [], page


def test_every_command_is_run_by_a_test_or_has_a_reason_why_not() -> None:
    for command in commands():
        places = [place for place in (*RUN, *EXCUSED) if place.fits(command)]
        assert len(places) == 1, f"{command.page}:{command.line}: {command.text!r} stands in {len(places)} places"


def test_no_line_of_the_plan_is_stale() -> None:
    there = commands()
    assert [place for place in (*RUN, *EXCUSED) if not any(map(place.fits, there))] == []
    for where in {place.where for place in RUN}:
        found = [REPOSITORY / "recsys_assets_tests" / each for each in (where, f"pages/{where}")]
        assert any(path.is_file() for path in found), where


def test_a_command_ends_where_a_shell_would_run_it() -> None:
    text = "\n".join(["a \\", "  b", "", "for x in 1; do", "  c", "done", "d <<EOF", "e", "EOF", "# f", "g 'h", "i'"])
    found = of_block(Block("page", 1, "sh", text))
    assert [c.text for c in found] == ["a \\\n  b", "for x in 1; do\n  c\ndone", "d <<EOF\ne\nEOF", "g 'h\ni'"]


def test_output_is_no_command() -> None:
    [block] = of_page("page", "```console\n$ a --b\nshown\n\nmore\n$ c\n```\n")
    assert [(c.text, c.shown) for c in of_block(block)] == [("a --b", "shown\n\nmore"), ("c", "")]
