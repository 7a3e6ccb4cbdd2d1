"""Where the charts stand, and reading what they say.

Here: paths, YAML, the kept renderings of our chart, rules of RBAC. Not here: helm (render.py), any claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "recsys-assets"
VALUES = REPOSITORY / "helm_values"
CASES = Path(__file__).parent / "cases"
RENDERED = Path(__file__).parent / "rendered"
# A rendering each: the example as it stands, and what a case lays over it.
CASE_FILES: Mapping[str, tuple[str, ...]] = {"mesh": (), "plain": ("plain.yaml",), "gateway_api": ("gateway_api.yaml",)}
_HEADER = re.compile(r"# chart: (\S+) (\S+)\n")

Document = dict[str, Any]


@dataclass(frozen=True)
class Pinned:
    """Which chart, at which version, a file of values is for."""

    chart: str
    version: str

    @property
    def name(self) -> str:
        return self.chart.rsplit("/", 1)[-1]


def pinned(path: Path) -> Pinned:
    """What the first line says; every file of values has it."""
    found = _HEADER.match(path.read_text(encoding="utf-8"))
    assert found is not None, f"{path.name}: the first line must be `# chart: <repository>/<chart> <version>`"
    return Pinned(found[1], found[2])


def values_files() -> list[Path]:
    return sorted(VALUES.glob("*.yaml"))


def load(path: Path) -> Document:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    """As helm lays one file of values over another: maps are merged, all else is replaced."""
    result = dict(under)
    for key, value in over.items():
        mine = result.get(key)
        result[key] = merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return result


def case_values(case: str) -> Document:
    """What our chart is rendered with: its own values, the example, the keys, the case."""
    files = [CHART / "values.yaml", VALUES / "recsys-assets.yaml", CASES / "keys.yaml"]
    files += [CASES / name for name in CASE_FILES[case]]
    together: Document = {}
    for path in files:
        together = merged(together, load(path))
    return together


@cache
def rendered(case: str) -> list[Document]:
    """The kept rendering, read once; a test of the cluster's holds it equal to what helm renders now."""
    text = (RENDERED / f"{case}.yaml").read_text(encoding="utf-8")
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def of_kind(documents: Iterable[Document], kind: str) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


def containers(deployment: Document) -> list[Document]:
    pod = deployment["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def granted(role: Document) -> set[tuple[str, str, str, str]]:
    """A Role as single rights: group, resource, verb, and the object it is narrowed to or `*`."""
    return {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ["*"])
    }
