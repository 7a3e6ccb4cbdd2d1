"""What the processes of the zones do with the online store.

Here: the product's own table, asset, check and readers, called with plain values. Not here: a zone, or a test.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from recsys_assets.columns import INTERACTIONS, UTC_TIME
from recsys_assets.features.assets import build_assets
from recsys_assets.features.checks import build_checks
from recsys_assets.features.views import KEYS
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import load_settings
from recsys_assets.store_settings import StoreSettings
from recsys_assets_tests.features.rows import user_feature_rows
from recsys_assets_tests.time_zones.zones import MOMENTS

_EQUAL = dg.AssetCheckKey(dg.AssetKey("online_features"), "online_values_equal_offline_values")


def entity(moment: datetime) -> str:
    """The user, and the item, whose newest row is of this moment."""
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def write(home: str, online: str) -> None:
    """Write the tables and materialize `online_features`."""
    settings, tables = load_settings(home=Path(home)), _resources(home, online)["tables"]
    events = _events()
    days = sorted(set(events["day"].to_list()))
    made = {
        "user_features": user_feature_rows(events, days, settings.features),
        "item_features": item_feature_rows(events, days, settings.features),
    }
    for view, frame in made.items():
        times = pl.Series([datetime.fromisoformat(name) for name in frame[KEYS[view]]], dtype=UTC_TIME)
        tables.overwrite_days(view, frame.with_columns(event_time=times), days)
    _run(home, online, dg.AssetSelection.assets("online_features").without_checks())


def check(home: str, online: str) -> dict[str, bool]:
    """The verdict of the check on what another process wrote."""
    return _run(home, online, dg.AssetSelection.checks(_EQUAL))


def known_until(home: str, online: str) -> dict[str, list[str]]:
    """For each view: when each row's knowledge ends, by the model server's reader and by Feast's SDK."""
    store = _resources(home, online)["feature_store"]
    names = [entity(moment) for moment in MOMENTS]
    found: dict[str, list[str]] = {}
    for view, key in KEYS.items():
        rows = [store.reader(view).read(name, 60_000) for name in names]
        found[f"{view} by the reader"] = [row["event_time"].isoformat() for row in rows]
        asked = [{key: name} for name in names]
        answer = store._store().get_online_features([f"{view}:events_7d"], asked).proto
        column = list(answer.metadata.feature_names.val).index("events_7d")
        stamps = answer.results[column].event_timestamps
        found[f"{view} by Feast"] = [stamp.ToDatetime(UTC).isoformat() for stamp in stamps]
    return found


def _events() -> pl.DataFrame:
    """At each moment one event, of a user and with an item that bear its name."""
    rows = [
        {"user_id": entity(at), "item_id": entity(at), "event_time": at, "day": at.date(), "event_type": "view"}
        for at in MOMENTS
    ]
    return pl.DataFrame(rows, schema=INTERACTIONS)


def _resources(home: str, online: str) -> dict[str, Any]:
    settings = load_settings(home=Path(home))
    settings = settings.model_copy(update={"stores": StoreSettings(online=online or None)})
    tables = TablesResource(root=str(Path(home, "tables")))
    return {"tables": tables, "feature_store": FeatureStoreResource.of(settings)}


def _run(home: str, online: str, selection: dg.AssetSelection) -> dict[str, bool]:
    settings = load_settings(home=Path(home))
    done = dg.materialize(
        [*build_assets(settings), *build_checks(settings)],
        resources=_resources(home, online),
        selection=selection,
        instance=dg.DagsterInstance.ephemeral(),
    )
    return {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
