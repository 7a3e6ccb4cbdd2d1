"""A town of people with tastes: synthetic days that a ranker can learn and that popularity alone explains badly.

Here: the events, the files they land in, and settings that are quick on them. Not here: running anything.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from recsys_assets.settings import Settings, load_settings
from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.waiting import HANG_SECONDS

START = date(2024, 1, 1)
FIRST_AS_OF, SECOND_AS_OF, END = date(2024, 1, 29), date(2024, 2, 5), date(2024, 2, 19)
USERS, NEWCOMERS, TASTES, ITEMS_PER_TASTE = 300, 150, 4, 30
SERVER_PORTS = 20
COLUMNS = {"user_id": "user_id", "item_id": "item_id", "event_time": "timestamp", "value": "rating"}


@cache
def events() -> pl.DataFrame:
    """User n has taste n mod 4 and on two days of five takes one new item: nine times in ten of the own taste.

    Within a taste, the first items are liked most. Half of the people come to town later, three a day. One row is one
    event; columns as in a landed file, and `day`.
    """
    rng, span = np.random.default_rng(11), (END - START).days
    liked = 1 / np.arange(4, 4 + ITEMS_PER_TASTE)
    rows = []
    for user in range(USERS):
        odds = np.tile(liked / (9 * (TASTES - 1)), TASTES)
        own = user % TASTES * ITEMS_PER_TASTE
        odds[own : own + ITEMS_PER_TASTE] = liked
        taken = rng.choice(len(odds), size=24, replace=False, p=odds / odds.sum())
        came = max(0, user - (USERS - NEWCOMERS)) * span // NEWCOMERS
        active = [came, *(came + 1 + np.flatnonzero(rng.random(span - came - 1) < 0.4))]
        for item, offset in zip(taken, active, strict=False):
            at = datetime(2024, 1, 1, 8, tzinfo=UTC) + timedelta(days=int(offset), minutes=user)
            rows.append((user_id(user), f"{item:04}", int(at.timestamp()), 3 + user % 3, at.date()))
    columns = ["user_id", "item_id", "timestamp", "rating", "day"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("timestamp", "user_id")


def user_id(number: int) -> str:
    return f"{number:04}"


def days(first: date, end: date) -> list[date]:
    """From `first` up to, but without, `end`."""
    return [first + timedelta(days=n) for n in range((end - first).days)]


def land(home: Path, *which: date) -> Path:
    """Land these days as files in the inbox, each at once as a whole; returns the path of the last."""
    folder = home / "inbox" / "interactions"
    for day in which:
        _write(events().filter(pl.col("day") == day).drop("day"), folder / f"{day.isoformat()}.parquet")
    return folder / f"{which[-1].isoformat()}.parquet"


def land_catalogue(home: Path) -> None:
    """Items with their taste as a genre, users with the part of town they live in."""
    count = TASTES * ITEMS_PER_TASTE
    items = {"item_id": [f"{n:04}" for n in range(count)], "genre": [f"g{n // ITEMS_PER_TASTE}" for n in range(count)]}
    users = {
        "user_id": [user_id(n) for n in range(USERS)],
        "quarter": [["north", "south"][n % 2] for n in range(USERS)],
    }
    _write(pl.DataFrame(items), home / "inbox" / "items.parquet")
    _write(pl.DataFrame(users), home / "inbox" / "users.parquet")


def write_future(home: Path) -> None:
    """What happens after the second release: whom the replayed visitors are drawn from."""
    _write(events().filter(pl.col("day") >= SECOND_AS_OF).drop("day"), home / "replay" / "future.parquet")


def _write(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    frame.write_parquet(aside)
    aside.replace(path)


def make_settings(folder: Path) -> Settings:
    """The town's settings, read from a config file below `folder`, on ports that nobody has."""
    names = ("gateway_port", "gateway_admin_port", "collector_port", "mlflow_port", "dagster_port")
    # The servers' ports lie below those that outgoing connections take.
    first = random.randrange(20_000, 30_000, SERVER_PORTS)
    serving = dict(zip(names, free_ports(len(names)), strict=True)) | {
        "model_port_first": first,
        "model_port_last": first + SERVER_PORTS - 1,
        # What is slow here is the machine that runs the tests. Limits are for hangs.
        "latency_budget_ms": 30_000,
        "online_store_timeout_ms": 30_000,
        "min_timeout_ms": 30_000,
        "ready_timeout_seconds": HANG_SECONDS,
    }
    config = folder / "recsys.yaml"
    config.write_text(yaml.safe_dump(written() | {"serving": serving}), encoding="utf-8")
    return load_settings(home=folder / "home", config=config)


def written() -> dict[str, Any]:
    """What a config file says of the town, wherever it is served."""
    return {"data": _data(), **_quick()}


def _data() -> dict[str, Any]:
    return {
        "start_date": START.isoformat(),
        "end_date": END.isoformat(),
        "interactions": {
            "paths": ["{home}/inbox/interactions/*.parquet"],
            "columns": COLUMNS,
            "time_unit": "s",
            "value_range": [1, 5],
        },
        "items": {
            "path": "{home}/inbox/items.parquet",
            "id_column": "item_id",
            "attributes": {"genre": {"column": "genre", "kind": "category"}},
        },
        "users": {
            "path": "{home}/inbox/users.parquet",
            "id_column": "user_id",
            "attributes": {"quarter": {"column": "quarter", "kind": "category"}},
        },
    }


def _quick() -> dict[str, Any]:
    return {
        "features": {"windows_days": [1, 7, 28]},
        "training": {
            "candidates_per_source": 30,
            "cuts": 2,
            "label_days": 5,
            "num_boost_round": 15,
            "num_leaves": 7,
            "min_data_in_leaf": 10,
            "min_rows": 500,
        },
        # The town is the same town every week; what is asked of the gate here is the way through it.
        "gate": {
            "test_days": 5,
            "min_slice_users": 5,
            "bootstrap_samples": 200,
            "non_inferiority_margin": 0.3,
            "slice_margin": 0.6,
        },
        # No drift in this story: a release that it asks for would come in between.
        "drift": {"max_distance": 100.0},
        "traffic": {
            "in_jobs": True,
            "rate": 60,
            "visitors": 40_000,
            "future": {"paths": ["{home}/replay/*.parquet"], "columns": COLUMNS, "time_unit": "s"},
        },
        "rollout": {
            "tick_seconds": 1.0,
            "plan": {
                "steps_bp": [5000],
                "margin": 0.5,
                "alpha": 0.1,
                "attribution_seconds": 1,
                "min_visitors_per_arm": 60,
                "shadow_requests": 40,
                "bake_seconds": 1,
                "deadline_seconds": 3_600,
                "lease_seconds": HANG_SECONDS,
                "max_error_rate_increase": 0.2,
                "max_p99_ratio": 100.0,
                "max_degraded_rate_increase": 0.2,
            },
        },
    }
