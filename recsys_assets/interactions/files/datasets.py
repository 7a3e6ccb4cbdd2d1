"""Folders that are one data set, as Spark, Hive and others write them: their parts, their days, their columns in names.

Here: pure rules about paths. Not here: listing folders and buckets (listing.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

from recsys_assets.interactions.files.opening import FORMATS

_DAY: Final = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_COLUMN: Final = re.compile(r"([^=/]+)=([^/]*)")
_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
# Files that Spark, Databricks and Hadoop leave beside the data.
_MARKERS: Final = re.compile(r"_SUCCESS$|_committed_|_started_|_metadata$|_common_metadata$|\..*|.*\.crc$")


def _table(kind: str) -> str:
    return f"a {kind} table: its log says which files count; export it to Parquet or CSV"


# A folder that holds a folder of this name.
_NOT_BY_ITSELF: Final = {
    "_delta_log": _table("Delta"),
    ".hoodie": _table("Hudi"),
    "_temporary": "still being written: its writer's folder _temporary is there",
}


def is_marker(name: str) -> bool:
    """Whether a file of this name says something about data and holds none."""
    return _MARKERS.match(name) is not None


def is_part(name: str) -> bool:
    """Whether a writer that splits its output names its parts so: some of them may hold no row."""
    return name.startswith("part-")


def is_named_as_data(name: str) -> bool:
    """Whether a folder of this name holds the parts of one data set: `clicks.parquet/`, `date=2026-03-01/`."""
    return PurePosixPath(name).suffix.lower() in FORMATS or _COLUMN.fullmatch(name) is not None


def why_unreadable(below: Collection[str]) -> str:
    """Why the files of a folder are no data by themselves, from the paths below it; empty where they are."""
    first = {PurePosixPath(path).parts[0] for path in below}
    for name, reason in _NOT_BY_ITSELF.items():
        if name in first:
            return reason
    is_iceberg = any(path.startswith("metadata/") and path.endswith(".metadata.json") for path in below)
    return _table("Iceberg") if is_iceberg else ""


def is_data(below: str) -> bool:
    """Whether a path below a data set's folder is one of its parts: names that begin with a line or a dot are not."""
    return not any(part[0] in "._" for part in PurePosixPath(below).parts)


def columns_in_path(path: str) -> dict[str, str | None]:
    """Columns that a writer put into folder names, such as `date=2026-03-01/`."""
    found = (_COLUMN.fullmatch(part) for part in PurePosixPath(path).parts[:-1])
    pairs = ((unquote(each[1]), unquote(each[2])) for each in found if each)
    return {name: None if value == _HIVE_NULL else value for name, value in pairs}


def day_in_path(path: str) -> date | None:
    """The day that a file name such as `clicks-2024-05-01.csv` carries, or the folder `2024-05-01.parquet/` around it.

    A folder `date=2024-05-01/` carries none: its writer may have cut the days in another zone than UTC.
    """
    *folders, name = PurePosixPath(path).parts
    named = [name, *(folder for folder in reversed(folders) if PurePosixPath(folder).suffix.lower() in FORMATS)]
    return next((day for each in named if (day := day_in_name(each)) is not None), None)


def day_in_name(name: str) -> date | None:
    """The day that one name carries."""
    for text in _DAY.findall(name):
        try:
            return date.fromisoformat(text)
        except ValueError:
            continue
    return None
