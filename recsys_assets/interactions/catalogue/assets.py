"""The assets `items` and `users`: their file, judged whole, in a table; the old table stays where it is refused.

Here: Dagster's side of a load. Not here: judgement (contract.py, keeping.py), when to load (sensors.py).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from recsys_assets.columns import ITEM, USER
from recsys_assets.interactions.catalogue.report import checks_of
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import EntitySource, Settings

if TYPE_CHECKING:
    import polars as pl

    from recsys_assets.interactions.catalogue.keeping import Before
    from recsys_assets.interactions.contract import Violation
    from recsys_assets.interactions.sources import SourceFile

GROUP = "interactions"
OWNERS = ["team:recommender"]
Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult]  # type: ignore[type-arg]


class LoadConfig(dg.Config):
    """A person's word on one load."""

    accept_smaller: bool = Field(
        default=False,
        description="Take the file although it has far fewer rows, values or known identifiers than the table has.",
    )


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """items, users."""
    return [
        _entities(settings, "items", ITEM, settings.data.items),
        _entities(settings, "users", USER, settings.data.users),
    ]


def _entities(settings: Settings, name: str, id_name: str, source: EntitySource | None) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        # Without a file of their own, the entities are those that events have named.
        deps=[] if source else ["interactions"],
        group_name=GROUP,
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        # A file that is refused makes nothing: the table stays as it is, and so does what is known of it.
        output_required=False,
        description=f"One row is one {name[:-1]} with its attributes. Grain: {id_name}. Fresh as its file.",
        check_specs=[
            dg.AssetCheckSpec(check, asset=name, blocking=True, description=f"Rules: {', '.join(rules)}.")
            for check, rules in checks_of(name).items()
        ],
    )
    @one_writer(settings, name)
    def entities(context: dg.AssetExecutionContext, config: LoadConfig, tables: TablesResource) -> Events:
        if source is None:
            yield from _of_events(tables, name, id_name)
        else:
            yield from _load(settings, tables, name, id_name, source, config, context.run.run_id)

    return entities


def _of_events(tables: TablesResource, name: str, id_name: str) -> Events:
    from recsys_assets.interactions.catalogue.report import metadata_of, results

    if not tables.exists("interactions"):
        # A first load of the others must not fail for it.
        why = f"{name} have no file, and there are no interactions yet that would name them"
        yield from results(name, [], judged="nothing", unknown=dict.fromkeys(checks_of(name), why))
        return
    frame = tables.scan("interactions").select(id_name).unique().sort(id_name).collect()
    yield from results(name, [], judged=f"{frame.height} rows, made of interactions, which were judged before")
    yield dg.MaterializeResult(metadata=metadata_of(frame, tables.overwrite(name, frame), ""))


def _load(
    settings: Settings,
    tables: TablesResource,
    name: str,
    id_name: str,
    source: EntitySource,
    config: LoadConfig,
    run_id: str,
) -> Events:
    from recsys_assets.interactions.catalogue import loads
    from recsys_assets.interactions.catalogue.keeping import WAIVABLE, basis, judge_kept
    from recsys_assets.interactions.catalogue.report import matching_check, metadata_of, results

    file, now = entity_file(settings, name, source), datetime.now(UTC)
    if isinstance(file, str):
        yield from results(name, [], judged="")
        raise dg.Failure(f"{name}: {file}; the table stays as it is")
    frame, found = _read(file, source, id_name, now)
    before = _before(settings, tables, name, id_name)
    kept = [] if frame is None else judge_kept(frame, before, source, id_name, file=file.path)
    waived = [each for each in kept if config.accept_smaller and each.rule in WAIVABLE]
    found += [each for each in kept if each not in waived]
    judged = "" if frame is None else f"{frame.height} rows, {basis(before)}"
    unseen = before.seen is None and source.min_kept_ratio > 0
    unknown = {matching_check(name): "there are no interactions yet to compare with"} if unseen else {}
    if frame is None or found:
        _refuse(settings, tables, name, source, file, found, run_id, now)
        yield from results(name, found, judged=judged, waived=waived, unknown=unknown)
        raise dg.Failure(
            f"{name}: {file.path} is refused and kept in quarantine, the table stays as it is: "
            + "; ".join(map(str, found[:3])),
            allow_retries=False,
        )
    yield from results(name, [], judged=judged, waived=waived, unknown=unknown)
    about = {loads.CONTENT: loads.content_of(source, file.digest), loads.MATCHED: str(not unseen).lower()}
    version = tables.overwrite(name, frame, about=about)
    yield dg.MaterializeResult(metadata=metadata_of(frame, version, file.digest))


def _read(
    file: "SourceFile", source: EntitySource, id_name: str, now: datetime
) -> "tuple[pl.DataFrame | None, list[Violation]]":
    from recsys_assets.interactions.entities import EntitiesBrokenError, read_entities
    from recsys_assets.interactions.sources import local_copy

    try:
        with local_copy(file.path) as path:
            return read_entities(path, source, id_name, file=file.path, now=now), []
    except EntitiesBrokenError as broken:
        return None, broken.violations


def _before(settings: Settings, tables: TablesResource, name: str, id_name: str) -> "Before":
    """The table in place, and the identifiers in the newest days of interactions."""
    import polars as pl

    from recsys_assets.columns import DAY
    from recsys_assets.interactions.catalogue.keeping import Before

    held = tables.read(name) if tables.exists(name) else None
    days = tables.days("interactions")[-settings.data.volume_trailing_days :] if tables.exists("interactions") else []
    if not days:
        return Before(held, None)
    newest = tables.scan("interactions").filter(pl.col(DAY) >= days[0])
    return Before(held, newest.select(pl.col(id_name).unique()).collect()[id_name])


def _refuse(
    settings: Settings,
    tables: TablesResource,
    name: str,
    source: EntitySource,
    file: "SourceFile",
    found: "list[Violation]",
    run_id: str,
    now: datetime,
) -> None:
    """The file first, then the record: cut off between the two, a repetition ends in the same state."""
    import polars as pl

    from recsys_assets.interactions.catalogue import loads
    from recsys_assets.interactions.quarantine import quarantine

    quarantine(settings.home, file, found, days=[], at=now)
    row: dict[str, Any] = {
        loads.CONTENT: loads.content_of(source, file.digest),
        "judged_by": loads.judged_by(source),
        "version": tables.version(name) if tables.exists(name) else -1,
        "rules": sorted({each.rule.value for each in found}),
        "reason": "; ".join(map(str, found[:3])),
        "file": file.path,
        "run_id": run_id,
        "at": now,
    }
    tables.overwrite(loads.refusal_table(name), pl.DataFrame([row], schema=loads.REFUSED))


def entity_file(settings: Settings, name: str, source: EntitySource) -> "SourceFile | str":
    """The file of items or users, or why there is none."""
    import glob

    from recsys_assets.interactions.sources import look_at

    place = settings.resolve(source.path)
    found = look_at(place if "://" in place else glob.escape(place))
    if len(found.files) > 1:
        return f"{place} holds {len(found.files)} files, and {name} are read from one: write them as one file"
    if not found.files and found.passed_over:
        return f"{found.passed_over[0].path}: {found.passed_over[0].reason}"
    return found.files[0] if found.files else f"no file {place}"
