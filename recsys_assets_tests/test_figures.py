"""Pages show what the results say, each figure with its commit; what is old is listed and fails nothing.

Here: pages against results and code, and the age of a result. Not here: whether a figure is good.
"""

from __future__ import annotations

import json
import re
import subprocess
import warnings
from pathlib import Path

import pytest

from benchmarks.figure_rows import FIGURES
from benchmarks.figures import PAGES, written
from benchmarks.harness import RESULTS
from benchmarks.measured import MEASURES, REPOSITORY, Age, ages, commits_since

MARKED = re.compile(r"<!-- figure \w+ -->.*?<!-- /figure -->", re.DOTALL)
COUNTED = re.compile(r"\b\d[\d,]* (assets|packages|guards)\b")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_the_results_and_the_code_say(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert written(text) == text, "`make figures` writes it anew"


def test_every_figure_that_can_be_written_stands_in_a_page() -> None:
    text = "".join((REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"<!-- figure (\w+) -->", text)) == set(FIGURES)


def test_a_figure_that_nobody_writes_is_refused() -> None:
    with pytest.raises(ValueError, match="no figure speed"):
        written("<!-- figure speed -->fast<!-- /figure -->")


@pytest.mark.parametrize("page", PAGES)
def test_no_count_of_assets_packages_or_guards_is_typed_by_hand(page: str) -> None:
    bare = MARKED.sub("", (REPOSITORY / page).read_text(encoding="utf-8"))
    assert [match[0] for match in COUNTED.finditer(bare)] == []


def test_every_result_says_what_it_measures_by_paths_that_exist() -> None:
    assert {file.stem for file in RESULTS.glob("*.json")} <= set(MEASURES)
    assert [path for paths in MEASURES.values() for path in paths if not (REPOSITORY / path).exists()] == []


def test_a_result_is_old_once_what_it_measures_has_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
        return subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def change(name: str) -> None:
        (tmp_path / name).write_text((tmp_path / name).read_text(encoding="utf-8") + "x", encoding="utf-8")
        git("commit", "-qam", name)

    git("init", "-q")
    for name in ("measured.py", "other.py"):
        (tmp_path / name).touch()
    git("add", ".")
    git("commit", "-qm", "first")
    then = git("rev-parse", "HEAD")
    change("other.py")
    assert commits_since(then, ("measured.py",), repository=tmp_path) == 0
    change("measured.py")
    assert commits_since(then, ("measured.py",), repository=tmp_path) == 1
    assert commits_since("0" * 40, ("measured.py",), repository=tmp_path) is None


@pytest.mark.parametrize(("since", "stale"), [(0, False), (3, True), (None, True)])
def test_without_a_history_a_figure_counts_as_old(since: int | None, stale: bool) -> None:
    assert Age("demo_story", "0123456789", since).is_stale is stale


def test_old_figures_are_listed_where_the_tests_are_read() -> None:
    if subprocess.run(["git", "rev-parse"], cwd=REPOSITORY, capture_output=True, check=False).returncode:
        pytest.skip("no git checkout")
    for age in ages():
        if age.is_stale:
            warnings.warn(age.line(), stacklevel=1)
        assert json.loads((RESULTS / f"{age.name}.json").read_text(encoding="utf-8"))["commit"] == age.commit
