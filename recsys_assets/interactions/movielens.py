"""MovieLens-100K as it stands in the installed recbole wheel, landed in the inbox as if it came day by day.

Here: finding, reading and landing it under the column names of movielens.yaml. Not here: anything about other data.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import polars as pl

from recsys_assets.interactions.calendar import midnight

_FOLDER: Final = "recbole/dataset_example/ml-100k"
# The data set's own spellings of "not known".
_UNKNOWN: Final = ("unknown", "unkonwn")
FIRST_DAY: Final = date(1997, 9, 20)


def read_ratings() -> pl.DataFrame:
    """user_id, item_id, rating, timestamp (whole seconds since 1970), in order of time."""
    return (
        _read("inter")
        .cast({"rating": pl.Float64, "timestamp": pl.Float64})
        .cast({"timestamp": pl.Int64})
        .sort("timestamp", "user_id", "item_id")
    )


def read_items() -> pl.DataFrame:
    """item_id, movie_title, release_year, class (genres with a space between). A title's article stands in front."""
    title, year = pl.col("movie_title"), pl.col("release_year")
    in_front = title.str.replace(r"^(.+), (The|A|An|Das|Der|Die|El|Il|La|Le|Les|L'|Los|O)$", "${2} ${1}")
    return _read("item").with_columns(
        movie_title=pl.when(title.is_in(_UNKNOWN)).then(pl.lit("Unknown")).otherwise(in_front),
        release_year=year.cast(pl.Int64, strict=False),
        **{"class": pl.when(~pl.col("class").is_in(_UNKNOWN)).then(pl.col("class"))},
    )


def read_users() -> pl.DataFrame:
    """user_id, age, gender, occupation, zip_code."""
    return _read("user").cast({"age": pl.Int64})


def land_items_users(home: Path) -> None:
    """Write inbox/items.parquet and inbox/users.parquet."""
    _write(read_items(), home / "inbox" / "items.parquet")
    _write(read_users(), home / "inbox" / "users.parquet")


def land_day(home: Path, day: date) -> Path:
    """Write one day's ratings to inbox/interactions/<day>.parquet, also where the day has none."""
    return land_days(home, [day])[0]


def land_days(home: Path, days: Iterable[date]) -> list[Path]:
    """Write one file for each of the days."""
    when = pl.from_epoch("timestamp", time_unit="s").dt.date()
    by_day = {
        key[0]: rows for key, rows in read_ratings().with_columns(day=when).partition_by("day", as_dict=True).items()
    }
    none = read_ratings().clear()
    folder = home / "inbox" / "interactions"
    return [
        _write(by_day[day].drop("day") if day in by_day else none, folder / f"{day.isoformat()}.parquet")
        for day in days
    ]


def write_future(home: Path, from_day: date) -> Path:
    """Write all ratings from this day on to replay/future.parquet: what replayed visitors will like."""
    later = read_ratings().filter(pl.col("timestamp") >= int(midnight(from_day).timestamp()))
    return _write(later, home / "replay" / "future.parquet")


def _read(kind: str) -> pl.DataFrame:
    """One of recbole's atomic files; its header says `name:type`. Located, never imported: recbole would want torch."""
    path = Path(str(distribution("recbole").locate_file(f"{_FOLDER}/ml-100k.{kind}")))
    frame = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    return frame.rename({name: name.split(":")[0] for name in frame.columns})


def _write(frame: pl.DataFrame, path: Path) -> Path:
    """Aside and renamed: a sensor never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    frame.write_parquet(aside)
    aside.replace(path)
    return path
