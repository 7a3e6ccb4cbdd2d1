"""Converting a raw column: identifiers, event times, numbers. What cannot be converted becomes null.

Here: Polars expressions by the column's type. Not here: what a null then means (contract.py).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Final

import polars as pl

from recsys_assets.columns import UTC_TIME
from recsys_assets.settings import TimeUnit

_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
# Beyond the year 9999 a number is not a time in this unit (and microseconds would overflow soon after).
_LAST_SECOND: Final = 253_402_300_800
# 1990 to 2100: a number of seconds between these is likely to be meant as a time.
_HINT_FROM: Final = 631_152_000
_HINT_TO: Final = 4_102_444_800
# What no request could ever name: signs that cannot be seen, blanks at an end, or more than MAX_ID_LENGTH.
_NOT_AN_ID: Final = r"[\p{C}\p{Zl}\p{Zp}\u{a0}\u{1680}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}]|^ | $"
MAX_ID_LENGTH: Final = 256
_OFFSET: Final = r"(Z|[+-]\d\d:\d\d)$"


def to_id(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """An identifier as a string: strings as they are, whole numbers without a fraction; empty is null, and so is what
    the model server would not take for an identifier."""
    column = pl.col(name)
    if dtype is None:
        return pl.lit(None, pl.String).alias(name)
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        text = column.cast(pl.String)
        fit = (text != "") & (text.str.len_chars() <= MAX_ID_LENGTH) & ~text.str.contains(_NOT_AN_ID)
        return pl.when(fit).then(text).alias(name)
    if dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0):
        return column.cast(pl.String).alias(name)
    if dtype.is_float():
        # Whole numbers with a gap come as floats out of many tools.
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() < 2**53)
        return pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).alias(name)
    return pl.lit(None, pl.String).alias(name)


def to_time(name: str, dtype: pl.DataType | None, unit: TimeUnit) -> pl.Expr:
    """An event time in UTC. A column of times is taken as it is (without a zone: UTC), else by the declared unit."""
    column = pl.col(name)
    if dtype is None:
        return pl.lit(None, UTC_TIME).alias(name)
    if isinstance(dtype, pl.Datetime):
        aware = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return aware.cast(UTC_TIME).alias(name)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(name)
    if unit == "iso":
        return (_iso(column) if dtype == pl.String else pl.lit(None, UTC_TIME)).alias(name)
    if dtype == pl.String or dtype.is_numeric():
        number = column.cast(pl.Float64, strict=False)
        sane = number.is_finite() & (number.abs() < _LAST_SECOND * _PER_SECOND[unit])
        micros = (pl.when(sane).then(number) * (1_000_000 // _PER_SECOND[unit])).round(0)
        return micros.cast(pl.Int64, strict=False).cast(UTC_TIME).alias(name)
    return pl.lit(None, UTC_TIME).alias(name)


def to_number(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """A number; not-a-number is null."""
    if dtype is None or not (dtype == pl.String or dtype.is_numeric()):
        return pl.lit(None, pl.Float64).alias(name)
    return pl.col(name).cast(pl.Float64, strict=False).fill_nan(None).alias(name)


def to_text(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """A text as it is, null where it is blank: an empty field in quotes means as little as one without. Whole numbers
    have no fraction, as in `to_id`, and not-a-number is null."""
    if dtype is None or dtype.is_nested():
        return pl.lit(None, pl.String).alias(name)
    if dtype.is_float():
        column = pl.col(name).fill_nan(None)
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() < 2**53)
        digits = pl.when(whole).then(column).cast(pl.Int64, strict=False).cast(pl.String)
        return pl.coalesce(digits, column.cast(pl.String)).alias(name)
    text = pl.col(name).cast(pl.String, strict=False)
    return pl.when(text.str.strip_chars() != "").then(text).alias(name)


def within(
    name: str,
    dtype: pl.DataType,
    unit: TimeUnit,
    *,
    low: datetime | None,
    high: datetime | None,
    now: datetime | None = None,
) -> pl.Expr:
    """Rows with low <= time < high, and all that have no time, no readable time, or one after `now`."""
    if dtype.is_integer() and unit != "iso":
        # Compared as the file's own numbers, so that a Parquet reader can skip whole row groups.
        time, absent = pl.col(name), pl.col(name).is_null()
        low_at, high_at, now_at = (None if at is None else _number(at, unit) for at in (low, high, now))
        return absent | _between(time, low_at, high_at, now_at)
    time = to_time(name, dtype, unit)
    return time.is_null() | _between(time, low, high, now)


def time_hint(given: object, unit: TimeUnit) -> str:
    """For a value that is no time of the source in its unit: the unit in which it would be one, or what is taken."""
    try:
        number = float(str(given))
    except ValueError:
        if unit != "iso":
            return " (a text: `time_unit: iso` reads dates such as 2026-03-01T00:05:00Z)"
        return " (taken are 2026-03-01T00:05:00Z, with a blank for T, and Z, UTC, GMT or an offset such as +01:00)"
    for other, per_second in _PER_SECOND.items():
        seconds = number / per_second
        if other != unit and _HINT_FROM <= seconds < _HINT_TO:
            at = datetime.fromtimestamp(seconds, UTC)
            return f" (with `time_unit: {other}` it would be {at:%Y-%m-%d %H:%M} UTC)"
    if _HINT_FROM <= number / 1_000_000_000 < _HINT_TO:
        return " (it looks like nanoseconds: divide by 1000 and set `time_unit: us`)"
    return ""


def unit_for(read: datetime, unit: TimeUnit, low: date, high: date) -> TimeUnit | None:
    """The unit in which a number that was read as `read` in `unit` would have lain in [low, high)."""
    if unit == "iso":
        return None
    number = read.timestamp() * _PER_SECOND[unit]
    units: tuple[TimeUnit, ...] = ("s", "ms", "us")
    first, last = (datetime.combine(day, time.min, UTC).timestamp() for day in (low, high))
    return next((each for each in units if each != unit and first <= number / _PER_SECOND[each] < last), None)


def _between(time: pl.Expr, low: object, high: object, now: object) -> pl.Expr:
    inside = pl.lit(True)
    if low is not None:
        inside = inside & (time >= pl.lit(low))
    if high is not None:
        inside = inside & (time < pl.lit(high))
    return inside if now is None else inside | (time > pl.lit(now))


def _number(at: datetime, unit: str) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * _PER_SECOND[unit])


def _iso(column: pl.Expr) -> pl.Expr:
    """ISO 8601 with or without time, seconds, fraction and offset; without an offset it is UTC. The offset may be
    written Z, UTC, GMT, +01:00, +0100 or +01, with a blank before it or without."""
    text = (
        column.str.strip_chars()
        .str.replace(r"(?i)^(.*\d) ?(?:utc|gmt|z)$", "${1}Z")
        .str.replace(r"(\d) ([+-]\d\d:?(?:\d\d)?)$", "${1}${2}")
        .str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T")
        .str.replace(r"^(\d{4}-\d\d-\d\d)(Z?)$", "${1}T00:00:00${2}")
        .str.replace(r"(T\d\d:\d\d)($|Z|[+-])", "${1}:00${2}")
        .str.replace(r"([+-]\d\d):?(\d\d)?$", "${1}:${2}")
        .str.replace(r"([+-]\d\d):$", "${1}:00")
    )
    # The offset's pattern would also fit the end of a bare date; those were given a time above.
    zoned = pl.when(text.str.contains(_OFFSET)).then(text).otherwise(text + "Z")
    return zoned.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
