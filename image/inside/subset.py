"""Runs in the build, with the full environment's Python: the part of a lock that some packages need, hashes and all.

Here: walking requirements of what is installed. Not here: resolving anything: versions and hashes are the full lock's.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(roots: list[str]) -> set[str]:
    """The names of all that these need here, by what the installed packages say of themselves."""
    open_, seen = [Requirement(root) for root in roots], set()
    while open_:
        wanted = open_.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            said = distribution(wanted.name).requires or []
        except PackageNotFoundError:
            continue  # a marker of another platform led here; what is truly missing is missed when it is run
        for text in said:
            more = Requirement(text)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                open_.append(more)
    return {name for name, _ in seen}


def subset(lock: str, names: set[str]) -> str:
    """The entries of these names. An entry begins at a line that is neither indented nor a comment."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    chosen = [
        entry
        for entry in entries
        if (found := re.match(r"[A-Za-z0-9._-]+", entry)) and canonicalize_name(found[0]) in names
    ]
    return "".join(chosen)


def main(roots: Path, lock: Path) -> int:
    lines = [line.split("#")[0].strip() for line in roots.read_text(encoding="utf-8").splitlines()]
    names = closure([line for line in lines if line])
    sys.stdout.write(subset(lock.read_text(encoding="utf-8"), names))
    sys.stderr.write(f"{len(names)} packages are needed by {roots.name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
