"""Small sources for the tests of this room: a CSV log's settings, its files, and settings over them.

Here: builders of literal data. Not here: any assertion.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import yaml

from recsys_assets.interactions.days import QUARANTINED
from recsys_assets.settings import PACKAGED_CONFIG, DataSettings, InteractionSource, Settings, load_settings

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = "who,what,when,stars"
COLUMNS = {"user_id": "who", "item_id": "what", "event_time": "when", "value": "stars"}
MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)


def csv_source(**changes: object) -> InteractionSource:
    return InteractionSource.model_validate(
        {"paths": ["{home}/inbox/*"], "columns": COLUMNS, "value_range": [1, 5], **changes}
    )


def data_settings(**changes: object) -> DataSettings:
    source = changes.pop("interactions", csv_source())
    return DataSettings.model_validate({"start_date": MONDAY, "interactions": source, **changes})


def settings_with(tmp_path: Path, **data: object) -> Settings:
    """Settings over tmp_path/home: days of January 2024, four columns."""
    raw = yaml.safe_load(PACKAGED_CONFIG.read_text())
    source = {"paths": ["{home}/inbox/*"], "columns": COLUMNS, "value_range": [1, 5]} | dict(
        data.pop("interactions", {})  # type: ignore[call-overload]
    )
    raw["data"] = {"start_date": "2024-01-01", "end_date": "2024-02-01", "interactions": source, **data}
    config = tmp_path / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw))
    return load_settings(home=tmp_path / "home", config=config)


def write(folder: Path, name: str, *rows: str, header: str = HEADER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def good_rows(day: date, count: int = 3) -> list[str]:
    """`count` different events of a day: user 00n, item xn, at n o'clock."""
    return [f"00{n},x{n},{day}T{n:02d}:00:00Z,{1 + n % 5}" for n in range(count)]


def blocked_days(record: pl.DataFrame) -> list[date]:
    """The days whose newest content is in quarantine, by the record of days."""
    return sorted(record.filter(pl.col("status") == QUARANTINED)["day"])
