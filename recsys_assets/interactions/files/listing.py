"""What the patterns of a source find, in folders and in buckets: data files, and what is passed over with its reason.

Here: looking, without reading. Not here: what a data set's folder is (datasets.py), a file's content (opening.py).
"""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from recsys_assets.interactions.files.datasets import is_data, is_marker, is_named_as_data, why_unreadable

S3: Final = "s3://"


@dataclass(frozen=True)
class PassedOver:
    """Something that a pattern finds and that no run can read."""

    path: str
    reason: str


Found = Path | PassedOver


def find_local(pattern: str) -> Iterator[Found]:
    """Files and parts of data sets, in order of path."""
    looking = _Looking(pattern)
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - the pattern is absolute
        if not is_marker(Path(name).name):
            try:
                yield from looking.at(Path(name))
            except OSError as broken:
                yield PassedOver(name, f"cannot be looked at: {broken.strerror}")


class _Looking:
    """One pass over what a pattern matches; every folder is judged once."""

    def __init__(self, pattern: str) -> None:
        self._is_recursive = "**" in pattern
        self._root = Path(f"{fixed_prefix(pattern)}x").parent
        self._judged: dict[Path, str] = {}

    def at(self, path: Path) -> Iterator[Found]:
        if path.is_symlink() and not path.exists():
            yield PassedOver(str(path), f"a link to {path.readlink()}, which is not there")
        elif path.is_dir():
            yield from self._into(path)
        elif not path.is_file():
            yield PassedOver(str(path), "neither a file nor a folder")
        elif barred := next(((folder, why) for folder in self._around(path) if (why := self._why_not(folder))), None):
            yield PassedOver(str(barred[0]), barred[1])
        elif not self._is_recursive or is_data(path.relative_to(self._root).as_posix()):
            yield _readable(path)

    def _into(self, folder: Path) -> Iterator[Found]:
        if not is_named_as_data(folder.name) and not (folder / "_SUCCESS").exists():
            if not self._is_recursive:
                yield PassedOver(str(folder), f"a folder: the pattern {folder.name}/* would match the files in it")
            return
        if why := self._why_not(folder):
            yield PassedOver(str(folder), why)
            return
        below = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
        parts = [path for path in below if is_data(path.relative_to(folder).as_posix())]
        yield from map(_readable, parts)
        if not parts:
            yield PassedOver(str(folder), "a folder without data files")

    def _around(self, path: Path) -> Iterator[Path]:
        """Folders that may be a table's: those that the pattern leaves open, the one before, and partitions."""
        for folder in path.parents:
            yield folder
            is_open = folder.is_relative_to(self._root) and folder != self._root
            if not is_open and "=" not in folder.name:
                return

    def _why_not(self, folder: Path) -> str:
        if folder not in self._judged:
            names = [path.name for path in folder.iterdir()]
            if "metadata" in names:
                names += [f"metadata/{path.name}" for path in (folder / "metadata").glob("*.metadata.json")]
            self._judged[folder] = why_unreadable(names)
        return self._judged[folder]


def _readable(path: Path) -> Found:
    try:
        with path.open("rb"):
            return path
    except OSError as broken:
        return PassedOver(str(path), f"cannot be opened: {broken.strerror}")


def find_keys(keys: Collection[str], wanted: str) -> Iterator[str | PassedOver]:
    """Of a bucket's keys those that the pattern matches, and the parts of the folders that it matches."""
    barred = _barred_folders(keys)
    for folder, why in barred.items():
        is_meant = is_named_as_data(PurePosixPath(folder).name) and _matches(folder, wanted)
        if is_meant or any(_wanted(key, wanted) for key in keys if key.startswith(f"{folder}/")):
            yield PassedOver(folder, why)
    for key in sorted(keys):
        if _wanted(key, wanted) and not any(key.startswith(f"{folder}/") for folder in barred):
            yield key


def _barred_folders(keys: Collection[str]) -> dict[str, str]:
    below: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        steps = key.split("/")
        for depth in range(1, len(steps)):
            rest = steps[depth:]
            below["/".join(steps[:depth])].add("/".join(rest) if rest[0] == "metadata" else rest[0] or key)
    return {folder: why for folder, names in sorted(below.items()) if (why := why_unreadable(names))}


def _wanted(key: str, wanted: str) -> bool:
    """Whether the pattern matches the key, or a data set's folder around it of which it is a part."""
    path = PurePosixPath(key)
    if key.endswith("/") or is_marker(path.name):
        return False
    folders = [folder.as_posix() for folder in path.parents if is_named_as_data(folder.name)]
    if any(_matches(each, wanted) and is_data(path.relative_to(each).as_posix()) for each in folders):
        return True
    return _matches(key, wanted) and ("**" not in wanted or is_data(key.removeprefix(fixed_prefix(wanted))))


def _matches(key: str, wanted: str) -> bool:
    """As in a folder: `*` stays below one prefix, `**` does not, and `**/` may be nothing."""
    if "**" in wanted:
        return fnmatchcase(key, wanted) or fnmatchcase(key, wanted.replace("**/", ""))
    return fnmatchcase(key, wanted) and key.count("/") == wanted.count("/")


def fixed_prefix(wanted: str) -> str:
    """What every key that the pattern matches begins with."""
    return re.split(r"[*?\[]", wanted, maxsplit=1)[0]
