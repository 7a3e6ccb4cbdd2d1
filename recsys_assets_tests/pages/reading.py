"""A reader: gives the commands of a page to a shell, and holds what comes back beside what the page shows.

Here: one command, and the comparison. Not here: which commands, in which home.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from recsys_assets_tests.pages.blocks import Command, commands
from recsys_assets_tests.pages.plan import RUN
from recsys_assets_tests.waiting import HANG_SECONDS

# What differs from run to run: moments, ids and scores.
_VARIES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|0\.\d{5,}")


def planned(where: str, page: str) -> list[Command]:
    """The page's commands that this test must run, in the page's order."""
    places = [place for place in RUN if place.where == where and place.page == page]
    return [command for command in commands() if any(place.fits(command) for place in places)]


def give(command: str, *, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Type it into a shell in this folder, where the project's environment is active."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=active(**variables),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=HANG_SECONDS,
        check=False,
    )


def active(**variables: str) -> dict[str, str]:
    """The environment of a shell in which the project's own is active, and nothing of ours set but these."""
    # `make test` tells the makes below it that they are below; a reader's make is below none.
    set_by_us = ("RECSYS_", "DAGSTER_", "MAKE", "MFLAGS")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(set_by_us)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{ours.get('PATH', '')}"
    return ours | {"PATH": path, "COLUMNS": "200"} | variables


def missing(shown: str, said: str, *, same: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the page that the command did not say, in order. `...` stands for whatever is there.

    `same` are words of the page and what they are here, such as an address.
    """
    for there, here in (same or {}).items():
        shown = shown.replace(there, here)
    rest = [_plain(line) for line in said.splitlines()]
    absent = []
    for line in filter(None, map(_plain, shown.splitlines())):
        at = next((n for n, each in enumerate(rest) if _fits(line, each)), None)
        if at is None:
            absent.append(line)
        else:
            rest = rest[at + 1 :]
    return absent


def _plain(line: str) -> str:
    """Without what varies, and without the frame and the widths of a table."""
    return " ".join(_VARIES.sub("<varies>", line).strip("│ ").split())


def _fits(shown: str, said: str) -> bool:
    parts: Iterable[str] = map(re.escape, shown.split("..."))
    return re.fullmatch(".*".join(parts), said) is not None or shown == "..."
