"""What the mutation testing of the decision code changes, and what it makes of a mutant that survived.

Here: literal functions of a few lines. Not here: its runs (benchmarks/mutation_testing.py).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutmut.configuration import reset_config
from mutmut.mutation import mutators
from mutmut.mutation.file_mutation import mutate_file_contents

from benchmarks.mutation.guards import install
from benchmarks.mutation.survivors import Mutant, read
from benchmarks.mutation_testing import count

NAME = "recsys_assets/rollout/small.py"


@pytest.fixture
def operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "pyproject.toml").write_text('[tool.mutmut]\nsource_paths = ["."]\n')
    (tmp_path / "mutants").mkdir()
    monkeypatch.chdir(tmp_path)
    kept = list(mutators.mutation_operators)
    yield
    reset_config()
    mutators.mutation_operators[:] = kept


def survivors(tmp_path: Path, code: str, operators: str = "guards") -> list[Mutant]:
    """All mutants of this code, as though no test had failed."""
    install(operators)
    made = mutate_file_contents(NAME, code)
    path = tmp_path / NAME
    path.parent.mkdir(parents=True)
    path.write_text(made.code)
    exits = dict.fromkeys((f"recsys_assets.rollout.small.{name}" for name in made.mutant_names), 0)
    (tmp_path / f"{NAME}.meta").write_text(json.dumps({"exit_code_by_key": exits}))
    return read(tmp_path, NAME)


@pytest.mark.usefixtures("operators")
def test_a_condition_is_forced_both_ways_and_each_term_is_taken_out(tmp_path: Path) -> None:
    code = "def f(a, b):\n    if a and b:\n        return 1\n    check(a)\n    log.info(b)\n    return a < b\n"
    found = survivors(tmp_path, code)
    assert {m.diff for m in found} == {
        "a and b -> (a and b) and False",
        "a and b -> a and b or True",
        "a -> a or True",
        "b -> b or True",
        "check(a) -> pass",
        "a < b -> a < b and False",
        "a < b -> a < b or True",
    }
    assert all(m.guard and m.survived for m in found)
    assert {m.function for m in found} == {"recsys_assets.rollout.small.f"}


@pytest.mark.usefixtures("operators")
def test_forcing_what_words_are_chosen_is_text_only(tmp_path: Path) -> None:
    found = survivors(tmp_path, "def f(a):\n    return 'it is so' if a else 'it is not so'\n")
    assert [(m.guard, m.text_only, m.survived) for m in found] == [(True, True, False)] * 2
    assert count(found)["text_only"] == 2
    assert count(found)["guards_removed_survived"] == 0


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("def f(a):\n    return stop('the reason for it', a)\n", False),
        ("def f(a):\n    return f'because of {g(a)}'\n", True),
        ("def f(a):\n    return '; '.join(g(a))\n", True),
        ("def f(a):\n    return g(a)\n", False),
    ],
)
def test_a_change_of_what_is_no_text_is_never_text_only(tmp_path: Path, code: str, text: bool) -> None:
    found = survivors(tmp_path, code, "all")
    assert found
    assert all(m.text_only for m in found) is text
    assert not any(m.guard for m in found)


def test_the_equivalent_list_gives_a_reason_for_each_and_names_functions_that_exist() -> None:
    from benchmarks.mutation.survivors import equivalents

    for (function, _), reason in equivalents().items():
        *module, name = (part for part in function.split(".") if not part[0].isupper())
        tree = ast.parse(Path(*module).with_suffix(".py").read_text())
        assert name in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert len(reason) > 20
