"""Whether anything lies where the settings say that data are, and its days have begun. Data may still come: no errors.

Here: looking at local folders and the clock. Not here: s3://, which needs a network, or reading a file.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.config_rules.places import data_places
from recsys_assets.config_rules.rule import rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings


@rule(
    "Something lies where data are looked for",
    "data.interactions.paths",
    "data.items.path",
    "data.users.path",
    "traffic.future.paths",
    warning=True,
)
def data_lie_there(settings: Settings) -> Iterator[str]:
    if settings.platform == "kubernetes":
        return  # it is asked here, and read there
    for name, path in data_places(settings):
        place = settings.resolve(path)
        if "://" in place or next(glob.iglob(place, recursive=True), None) is not None:  # noqa: PTH207 - it is absolute
            continue
        yield f"{name} {path!r} matches no file yet (looked at {place}{_as_far_as(place)})"


@rule("The data have begun", "data.start_date", warning=True)
def data_have_begun(settings: Settings) -> Iterator[str]:
    start, today = settings.data.start_date, datetime.now(UTC).date()
    if start >= today:
        yield f"data.start_date {start} is not past (today is {today}, UTC): no day is complete before it is over"


def _as_far_as(place: str) -> str:
    """How much of the folder is there, where not all of it is. What holds a sign of a glob names no folder."""
    plain = place if not glob.has_magic(place) else re.split(r"[*?\[]", place, maxsplit=1)[0] + "x"
    folder = Path(plain).parent
    found = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    return "" if found == folder else f"; the path exists as far as {found}"
