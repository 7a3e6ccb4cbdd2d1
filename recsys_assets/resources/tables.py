"""Versioned Delta tables on a local folder or S3: Polars in, Polars out, whole days replaced atomically.

Here: reading, writing and the stability of a table's schema. Not here: what any table means or how its rows are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

import dagster as dg
from pydantic import Field

from recsys_assets.errors import UserFacingError
from recsys_assets.settings import Settings
from recsys_assets.store_settings import S3Settings

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable, PostCommitHookProperties

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_DAY: Final = "day"
_ATTEMPTS: Final = 5
# The library's own patience with a store that is away is three minutes for each request.
_IMPATIENT: Final = {"max_retries": "6", "retry_timeout": "20s", "connect_timeout": "5s", "timeout": "60s"}
_AS_POLARS_SAYS: Final = {"max_retries": 6, "retry_timeout_ms": 20_000}
_FORGETS: Final = "delta.enableExpiredLogCleanup"
_ABOUT: Final = "recsys_assets."


class TableMissing(UserFacingError, LookupError):  # noqa: N818 - a state of the world that callers expect
    """No table of this name (or no such version of it) has been written yet."""


class TableSchemaChanged(ValueError):  # noqa: N818 - named after what happened
    """The rows do not fit the table, and some of its rows would stay as they are: the message names the columns."""


class TablesUnavailable(UserFacingError, OSError):  # noqa: N818 - as the platform's and the registry's
    """The store of the tables does not answer, or refuses: whether a table is there is not known."""


class TablesResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The tables below one root. `storage_options` are object-store settings, such as `aws_endpoint_url`; what is
    absent there is taken from the process's AWS_* variables by the library itself."""

    root: str
    storage_options: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The tables of these settings: on S3 where they say so, else below the home folder."""
        if settings.stores.tables is None:
            return cls(root=str(settings.path("tables")))
        return cls(root=settings.stores.tables, storage_options=s3_options(settings.stores.s3))

    def exists(self, name: str) -> bool:
        """Whether the table has at least one version."""
        from deltalake import DeltaTable

        with _answering(self.uri(name)):
            return DeltaTable.is_deltatable(self.uri(name), storage_options=self._options())

    def version(self, name: str) -> int:
        """The newest version, which a training run pins."""
        return self._open(name).version()

    def scan(self, name: str, *, version: int | None = None) -> pl.LazyFrame:
        """The rows, lazily: a filter on `day` reads only the files of those days."""
        import polars as pl

        return pl.scan_delta(
            self._open(name, version), storage_options=_AS_POLARS_SAYS if self.storage_options else None
        )

    def read(self, name: str, *, version: int | None = None) -> pl.DataFrame:
        """All rows."""
        return self.scan(name, version=version).collect()

    def days(self, name: str) -> list[date]:
        """The days that have rows, ascending; read from the table's log alone."""
        return sorted(date.fromisoformat(p[_DAY]) for p in self._open(name).partitions() if p.get(_DAY))

    def overwrite(self, name: str, frame: pl.DataFrame, *, about: Mapping[str, str] | None = None) -> int:
        """Replace the table, its schema included; return the new version. `about` is kept in the same commit."""
        return self._write(name, _storable(frame), mode="overwrite", schema_mode="overwrite", about=about)

    def about(self, name: str) -> dict[str, str]:
        """What the writer of the newest version said about it; empty for a version that was written otherwise."""
        newest = self._open(name).history(1)[0]
        return {key.removeprefix(_ABOUT): str(newest[key]) for key in newest if key.startswith(_ABOUT)}

    def overwrite_days(self, name: str, frame: pl.DataFrame, days: Sequence[date]) -> int:
        """Replace exactly these days by the frame's rows in one commit; days without rows in it become empty.

        The columns of a table may change only when no row of the old kind would stay.
        """
        import polars as pl

        wanted = sorted(set(days))
        strangers = frame.filter(~pl.col(_DAY).is_in(wanted) | pl.col(_DAY).is_null())
        if not wanted or strangers.height:
            found = strangers[_DAY].unique().sort().head(3).to_list()
            raise ValueError(f"{name}: rows of days {found} are not among the {len(wanted)} days to replace")
        rows = _storable(frame)
        if not self.exists(name):
            return self._write(name, rows, mode="overwrite", schema_mode="overwrite")
        try:
            aligned = self._aligned(name, rows)
        except TableSchemaChanged:
            if set(self.days(name)) <= set(wanted):
                return self._write(name, rows, mode="overwrite", schema_mode="overwrite")
            raise
        listed = ", ".join(f"'{day.isoformat()}'" for day in wanted)
        return self._write(name, aligned, mode="overwrite", predicate=f"{_DAY} IN ({listed})")

    def append(self, name: str, frame: pl.DataFrame) -> int:
        """Add the rows; return the new version."""
        rows = _storable(frame)
        return self._write(name, self._aligned(name, rows) if self.exists(name) else rows, mode="append")

    def append_new(self, name: str, frame: pl.DataFrame, *, keys: Sequence[str]) -> int:
        """Add the rows whose `keys` no stored row has, in one commit; return how many. The same rows again add nothing.

        Writers side by side see each other: whoever comes second looks again before it adds.
        """
        from deltalake import write_deltalake
        from deltalake.exceptions import CommitFailedError

        rows = _storable(frame).unique(keys, keep="first", maintain_order=True)
        if not self.exists(name):
            where, by = self._place(name), [_DAY] if _DAY in rows.columns else None
            write_deltalake(
                where,
                rows.clear(),
                mode="ignore",
                partition_by=by,
                storage_options=self._options(),
                post_commithook_properties=_all_versions_stay(),
            )
        rows, same = self._aligned(name, rows), " AND ".join(f"new.{key} = old.{key}" for key in keys)
        for attempt in range(_ATTEMPTS):
            merge = self._open(name).merge(
                rows, same, source_alias="new", target_alias="old", post_commithook_properties=_all_versions_stay()
            )
            try:
                return int(merge.when_not_matched_insert_all().execute()["num_target_rows_inserted"])
            except CommitFailedError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def set_true(self, name: str, column: str, *, where: str) -> int:
        """Set a Boolean column in the rows that an SQL condition names, in one commit; return how many were not so."""
        changed = self._open(name).update(
            updates={column: "true"},
            predicate=f"({where}) AND NOT {column}",
            post_commithook_properties=_all_versions_stay(),
        )
        return int(changed["num_updated_rows"])

    def compact(self, name: str, *, before: date, most: int = 8) -> int:
        """Put the small files of each day before `before` together where it has more than `most`; return how many.

        The small files stay on the disk (there is no vacuum): versions that a training pinned are made of them.
        """
        import polars as pl

        table = self._open(name)
        files = pl.DataFrame(table.get_add_actions(flatten=True)).group_by(day=f"partition.{_DAY}").len()
        days = files.filter((pl.col("len") > most) & (pl.col("day") < before))["day"].sort().to_list()
        if not days:
            return 0
        # Compaction does not heed what the other writers are told about old commits, only the table's own property.
        if table.metadata().configuration.get(_FORGETS) != "false":
            table.alter.set_table_properties({_FORGETS: "false"}, post_commithook_properties=_all_versions_stay())
        made = table.optimize.compact(partition_filters=[(_DAY, "in", [day.isoformat() for day in days])])
        return int(made["numFilesRemoved"])

    def uri(self, name: str) -> str:
        """Where the table stands."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a table name: lower case letters, digits and underscores")
        return f"{self.root.rstrip('/')}/{name}"

    def _place(self, name: str) -> str:
        """Where the table stands, with a local folder made."""
        where = self.uri(name)
        if "://" not in self.root:
            Path(where).mkdir(parents=True, exist_ok=True)
        return where

    def _options(self) -> dict[str, str] | None:
        return dict(self.storage_options) or None

    def _open(self, name: str, version: int | None = None) -> DeltaTable:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        if not self.exists(name):
            raise TableMissing(f"table {name} has not been written yet (looked in {self.uri(name)})")
        try:
            with _answering(self.uri(name)):
                return DeltaTable(self.uri(name), version=version, storage_options=self._options())
        except (TableNotFoundError, DeltaError) as absent:
            if version is None:
                raise
            raise TableMissing(f"table {name} has no version {version}: {absent}") from absent

    def _aligned(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows in the table's own column order and types, or TableSchemaChanged."""
        stored = self.scan(name).collect_schema()
        there, here = set(stored.names()), set(rows.columns)
        if there != here:
            raise TableSchemaChanged(
                f"table {name}: missing columns {sorted(there - here)}, new columns {sorted(here - there)}; "
                "materialize all its days in one run to change its columns"
            )
        return rows.select(stored.names()).cast(stored)

    def _write(
        self,
        name: str,
        rows: pl.DataFrame,
        *,
        mode: Literal["append", "overwrite"],
        predicate: str | None = None,
        schema_mode: Literal["overwrite"] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> int:
        from deltalake import CommitProperties, DeltaTable, write_deltalake

        where, options = self._place(name), self._options()
        partition_by = [_DAY] if _DAY in rows.columns else None
        if mode == "append":
            write_deltalake(
                where,
                rows,
                mode="append",
                partition_by=partition_by,
                storage_options=options,
                post_commithook_properties=_all_versions_stay(),
            )
        else:
            write_deltalake(
                where,
                rows,
                mode="overwrite",
                partition_by=partition_by,
                predicate=predicate,
                schema_mode=schema_mode,
                storage_options=options,
                commit_properties=CommitProperties({_ABOUT + key: value for key, value in (about or {}).items()}),
                post_commithook_properties=_all_versions_stay(),
            )
        return DeltaTable(self.uri(name), storage_options=self._options()).version()


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    """What the store says against it in one line: the library draws it as a coloured tree."""
    try:
        yield
    except OSError as broken:
        told = " ".join(re.sub(r"\x1b\[[0-9;]*m|\u21b3", "", str(broken)).split())
        raise TablesUnavailable(f"table {uri}: {told}") from broken


def s3_options(s3: S3Settings) -> dict[str, str]:
    """What the library is told about S3. Credentials are not among it: it finds them in the environment or the role.

    A commit is an object that must not exist yet (`If-None-Match: *`): of two writers one is refused and looks again.
    """
    options = {"aws_conditional_put": "etag", **_IMPATIENT}
    if s3.endpoint_url is not None:
        options |= {
            "aws_endpoint_url": s3.endpoint_url,
            "aws_allow_http": str(s3.endpoint_url.startswith("http:")).lower(),
        }
    if s3.region is not None:
        options["aws_region"] = s3.region
    return options


def _all_versions_stay() -> PostCommitHookProperties:
    """By default the library forgets commits of 30 days ago, and with them the versions that models were trained on."""
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(cleanup_expired_logs=False)


def _storable(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows in types that Delta keeps: it has no unsigned integers and no dictionaries."""
    import polars as pl
    import polars.selectors as cs

    return frame.with_columns(
        cs.unsigned_integer().cast(pl.Int64),
        cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
        (cs.datetime(time_zone=None) | cs.datetime(time_zone="*")).dt.cast_time_unit("us"),
    )
