"""Feast as a resource: registry, offline files and the online store, below the home folder or on servers.

Here: frames in and out of Feast. Not here: which features there are (features/views.py), the rows that training reads
(features/as_of_join.py; Feast's join is their oracle in a test), the model server's reader (features/online.py), or the
servers (feast_servers.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import dagster as dg
import yaml

from recsys_assets.resources.feast_servers import alone, redis_store, sql_registry, write_names
from recsys_assets.settings import FeatureSettings, Settings, secret_variable

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureStore

    from recsys_assets.features.online import ReadsRows, View

_CONFIG: Final = Path(__file__).parent.parent / "feature_repo" / "feature_store.yaml"
# Short transactions: SQLite takes the whole file for the rest of one that outgrows its cache.
_ROWS_PER_WRITE: Final = 2_000


class FeatureStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Feast over `home`/feast. The windows and list length are those of settings.features.

    `online` is the address of a Redis, empty for a file; the names are of variables, since Dagster shows what stands
    here.
    """

    home: str
    windows_days: list[int]
    recent_items: int
    online: str = ""
    online_password_env: str = ""
    registry_url_env: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The resource for these settings."""
        features, stores = settings.features, settings.stores
        return cls(
            home=str(settings.home),
            windows_days=list(features.windows_days),
            recent_items=features.recent_items,
            online=stores.online or "",
            online_password_env=stores.online_password_env or "",
            registry_url_env=stores.feast_registry_url_env or "",
        )

    @property
    def features(self) -> FeatureSettings:
        return FeatureSettings(windows_days=tuple(self.windows_days), recent_items=self.recent_items)

    @property
    def folder(self) -> Path:
        return Path(self.home, "feast")

    @property
    def online_path(self) -> Path:
        """The SQLite file of the online store, where it is one."""
        return self.folder / "online.db"

    def reader(self, view: View = "user_features") -> ReadsRows:
        """The model server's reader of this store."""
        from recsys_assets.features.online import open_reader

        return open_reader(self.online or self.online_path, password=self._password(), view=view)

    def apply(self) -> list[str]:
        """Register entities, views and the feature service, and make the online tables; return the names registered."""
        from recsys_assets.features.views import KEYS, build_views, feature_names

        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.online:
            # With a write-ahead log the servers go on reading while a write is under way. The mode stays in the file.
            with closing(sqlite3.connect(self.online_path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        objects = build_views(self.features, self.folder).objects()
        with alone(secret_variable(self.registry_url_env)) if self.registry_url_env else nullcontext():
            self._store(makes_tables=True).apply(objects)
        if self.online:
            write_names(self.online, self._password(), {view: feature_names(view, self.features) for view in KEYS})
        return [known.name for known in objects]

    def export(self, view: str, frame: pl.DataFrame | pl.LazyFrame) -> Path:
        """Write the view's rows where Feast's offline store reads them, whole or not at all."""
        from recsys_assets.features.views import offline_path

        path = offline_path(self.folder, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".writing")
        frame.lazy().sink_parquet(aside)
        return aside.replace(path)

    def write_online(self, view: str, frame: pl.DataFrame) -> int:
        """Store one row per entity, over what is there; return how many. The caller passes each entity's newest row."""
        store = self._store()
        for rows in frame.iter_slices(_ROWS_PER_WRITE):
            store.write_to_online_store(view, df=rows.to_pandas())
        return frame.height

    def read_online(self, view: str, ids: Sequence[str]) -> pl.DataFrame:
        """What the online store answers through Feast: a row for each of `ids`, in order; unknown ones are null."""
        import polars as pl

        from recsys_assets.features.views import KEYS, feature_names

        key = KEYS[view]
        names = feature_names(view, self.features)
        if not ids:
            return pl.DataFrame(schema=[key, *names])
        asked = [{key: entity} for entity in ids]
        answer = self._store().get_online_features([f"{view}:{name}" for name in names], asked)
        return pl.DataFrame(answer.to_dict(), infer_schema_length=None, strict=False).select(key, *names)

    def _password(self) -> str | None:
        return secret_variable(self.online_password_env) if self.online_password_env else None

    def _store(self, *, makes_tables: bool = False) -> FeatureStore:
        from recsys_assets.features.views import import_feast

        import_feast()
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        text = _CONFIG.read_text(encoding="utf-8").replace("${RECSYS_HOME}", str(Path(self.home).absolute()))
        config: dict[str, Any] = yaml.safe_load(text)
        if self.online:
            config["online_store"] = redis_store(self.online, self._password())
        if self.registry_url_env:
            config["registry"] |= sql_registry(secret_variable(self.registry_url_env), makes_tables=makes_tables)
        return FeatureStore(config=RepoConfig(repo_path=self.folder, **config))
