"""Feast's description of the features: entities, sources, views and the versioned feature service.

Here: what is registered, derived from the schemas of windows.py. Not here: a store, a table or a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, ITEM, USER
from recsys_assets.features.windows import item_schema, user_schema
from recsys_assets.settings import FeatureSettings

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView

USER_VIEW: Final = "user_features"
ITEM_VIEW: Final = "item_features"
KEYS: Final = {USER_VIEW: USER, ITEM_VIEW: ITEM}

_T = TypeVar("_T")
# The version is part of the name: a change of meaning gets a new service, and every ModelVersion says which it uses.
FEATURE_SERVICE: Final = "ranker_v1"


@dataclass(frozen=True)
class Views:
    """Everything to apply, in the order of its dependencies."""

    user: Entity
    item: Entity
    user_features: FeatureView
    item_features: FeatureView
    service: FeatureService

    def objects(self) -> list[Any]:
        return [self.user, self.item, self.user_features, self.item_features, self.service]


def import_feast() -> None:
    """Import Feast as it is written, for whoever is the first to need it.

    By itself it has typeguard parse and compile each of its classes anew, so that every argument is checked at every
    call: two thirds of the time that its import takes, in every run that writes features.
    """
    import typeguard

    checking = typeguard.typechecked
    typeguard.typechecked = _as_written  # type: ignore[assignment]
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checking


def _as_written(target: _T) -> _T:
    return target


def feature_names(view: str, settings: FeatureSettings) -> list[str]:
    """The features of a view: the columns of its table without key, time and day."""
    schema = user_schema(settings) if view == USER_VIEW else item_schema(settings)
    return [name for name in schema if name not in {KEYS[view], EVENT_TIME, DAY}]


def offline_path(feast_folder: Path, view: str) -> Path:
    """The Parquet file that Feast reads: its DuckDB store reads Delta only with an extension from the web."""
    return feast_folder / "offline" / f"{view}.parquet"


def build_views(settings: FeatureSettings, feast_folder: Path) -> Views:
    """The Feast objects for these windows, over the files below `feast_folder`."""
    import_feast()
    from feast import Entity, FeatureService
    from feast.value_type import ValueType

    user = Entity(name="user", join_keys=[USER], value_type=ValueType.STRING, description="A visitor with an account.")
    item = Entity(name="item", join_keys=[ITEM], value_type=ValueType.STRING, description="A thing to recommend.")
    of_users = _view(USER_VIEW, user, user_schema(settings), feast_folder)
    of_items = _view(ITEM_VIEW, item, item_schema(settings), feast_folder)
    about = "What the ranker reads: the newest rows before the moment of the request."
    service = FeatureService(name=FEATURE_SERVICE, features=[of_users, of_items], description=about)
    return Views(user, item, of_users, of_items, service)


def _view(name: str, entity: Entity, schema: pl.Schema, feast_folder: Path) -> FeatureView:
    from feast import FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat

    path = str(offline_path(feast_folder, name))
    source = FileSource(name=f"{name}_file", path=path, timestamp_field=EVENT_TIME, file_format=ParquetFormat())
    fields = [
        Field(name=column, dtype=_feast_type(dtype))
        for column, dtype in schema.items()
        if column not in {EVENT_TIME, DAY}
    ]
    # No time to live: a row stays true until the next one, and expire_windows says what it has become by then.
    return FeatureView(name=name, entities=[entity], schema=fields, source=source, ttl=timedelta(0), online=True)


def _feast_type(dtype: pl.DataType) -> Any:
    from feast import types

    if isinstance(dtype, pl.List):
        return types.Array(types.String if dtype.inner == pl.String else types.Float64)
    return {pl.String(): types.String, pl.Int64(): types.Int64, pl.Float64(): types.Float64}[dtype]
