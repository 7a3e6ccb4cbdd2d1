"""The safety page says what the results say, and names only tests that are there.

Here: the page against result files and test names. Not here: whether a figure is good.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.harness import RESULTS
from benchmarks.safety_page import BEGIN, END, PAGE, ROWS, table, written


def test_the_page_shows_the_figures_of_the_result_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, table()) == page, "python -m benchmarks.safety_page writes it anew"


def test_every_test_that_the_page_names_is_in_the_suite() -> None:
    matrix = PAGE.read_text(encoding="utf-8").split("## Failure by failure")[1]
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", matrix))
    files = Path(__file__).parent.rglob("test_*.py")
    there = {name for file in files for name in re.findall(r"def test_(\w+)", file.read_text(encoding="utf-8"))}
    assert len(named) > 40
    assert named - there == set()


def test_a_goal_that_was_missed_or_measured_small_is_not_called_reached(tmp_path: Path) -> None:
    figures = json.loads((RESULTS / "collector_durability.json").read_text(encoding="utf-8"))["figures"]

    def reached(**changed: int) -> str:
        told = {"figures": figures | {"lost": 0, "doubled": 0, "acknowledged": 1_000_000} | changed}
        (tmp_path / "collector_durability.json").write_text(json.dumps(told), encoding="utf-8")
        [line] = [line for line in table(tmp_path).splitlines() if "1,000,000 events" in line]
        return line.split("|")[3].strip()

    assert reached() == "yes"
    assert reached(lost=1) == "**no**"
    assert reached(acknowledged=999_999) == "**not shown**"


def test_a_goal_without_a_result_is_not_called_reached(tmp_path: Path) -> None:
    rows = table(tmp_path).splitlines()[2:]
    assert len(rows) == len(ROWS)
    assert all("not measured yet | **no**" in row for row in rows)


def test_a_page_without_its_marks_is_refused() -> None:
    assert written(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="lacks"):
        written("no marks", "new")
