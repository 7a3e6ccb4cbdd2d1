"""No mapping of ours has a key twice: YAML and JSON readers quietly take the last one.

Here: every YAML and JSON file of the repository, the charts' renderings (a template is no YAML) and what pages quote.
Not here: what a settings file of a person may hold (test_settings.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
SKIPPED = {"templates", "files"}
BLOCK = re.compile(r"^```(yaml|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def files(*endings: str) -> list[Path]:
    found = [path for ending in endings for path in REPOSITORY.rglob(f"*{ending}")]
    parts = {path: path.relative_to(REPOSITORY).parts for path in found}
    return sorted(path for path, of in parts.items() if not SKIPPED & set(of) and not of[0].startswith("."))


def twice_in_yaml(text: str) -> list[str]:
    """`line: key` of each key that stands again in its mapping."""
    return [line for document in yaml.compose_all(text, Loader=yaml.SafeLoader) for line in _twice(document)]


def _twice(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{key.start_mark.line + 1}: {key.value}"
            seen.add(key.value)
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _twice(each)


def twice_in_json(text: str) -> list[str]:
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        found.extend(name for name in set(names) if names.count(name) > 1)
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


def test_the_second_of_two_keys_is_found_with_its_line() -> None:
    assert twice_in_yaml("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n") == ["5: c"]
    assert twice_in_json('{"a": {"b": 1, "b": 2}}') == ["b"]
    assert twice_in_yaml("a: &x {c: 1}\nb: *x\n") == []


@pytest.mark.parametrize("path", files(".yaml", ".yml"), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_yaml_file_has_a_key_twice(path: Path) -> None:
    assert twice_in_yaml(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files(".json"), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_json_file_has_a_key_twice(path: Path) -> None:
    assert twice_in_json(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files(".md"), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_example_in_a_page_has_a_key_twice(path: Path) -> None:
    looks = {"yaml": twice_in_yaml, "json": twice_in_json}
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    assert [(kind, found) for kind, text in blocks if (found := looks[kind](text))] == []
