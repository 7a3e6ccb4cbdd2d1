"""Which data stands behind a training: pins kept in Dagster's metadata, read again and compared before they are used.

Here: reading pins and the rows' gate from the instance, and refusals told to a person. Not here: what a pin is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from recsys_assets.resources.tables import TablesResource
    from recsys_assets.training.pins import Pins

ROWS, INDEX = "training_rows", "candidate_index"
ROW_CHECKS = ("training_rows_do_not_leak", "training_rows_are_enough")


def rows_version(pins: Pins) -> str:
    """What the checks of training_rows judge: one version of the table."""
    return f"{ROWS}@{pins.tables[ROWS]}"


def require_sound_rows(context: dg.AssetExecutionContext, pins: Pins) -> None:
    """`blocking` holds within one run only; this reads the verdict on exactly these rows again."""
    from recsys_assets.resources.gates import read_gate
    from recsys_assets.training.pins import NotReady

    verdict = read_gate(context.instance, dg.AssetKey(ROWS), ROW_CHECKS, rows_version(pins))
    if not verdict.passed:
        raise NotReady(f"{rows_version(pins)} may not be trained on: {verdict.outcome.value}: {verdict.reason}")


def pins_for(
    context: dg.AssetExecutionContext, tables: TablesResource, *, sibling: str, feedback: bool = False
) -> Pins:
    """The newest tables, or what the sibling asset pinned in this same run, so that the two agree."""
    from recsys_assets.training.pins import Pins

    latest = context.instance.get_latest_materialization_event(dg.AssetKey(sibling))
    if latest is not None and latest.run_id == context.run.run_id:
        return pins_of(context, sibling)
    return Pins.newest(tables, feedback=feedback)


def pins_of(context: dg.AssetExecutionContext, asset: str) -> Pins:
    """The pins in the metadata of an asset's latest materialization."""
    from recsys_assets.training.pins import NotReady, Pins

    latest = context.instance.get_latest_materialization_event(dg.AssetKey(asset))
    stored = latest.asset_materialization.metadata.get("pins") if latest and latest.asset_materialization else None
    if stored is None:
        raise NotReady(f"{asset} has not been materialized yet")
    return Pins.model_validate(stored.value)


def agreed_pins(context: dg.AssetExecutionContext) -> Pins:
    from recsys_assets.training.pins import NotReady

    rows, index = pins_of(context, ROWS), pins_of(context, INDEX)
    if not rows.agrees_with(index):
        raise NotReady(f"{ROWS} was made from {rows}, {INDEX} from {index}: materialize both in one run")
    return rows


def pins_metadata(pins: Pins) -> dict[str, Any]:
    return {
        "pins": dg.MetadataValue.json(pins.model_dump(mode="json")),
        "as_of": dg.MetadataValue.timestamp(pins.as_of),
        "table_versions": dg.MetadataValue.json(dict(sorted(pins.tables.items()))),
    }


@contextmanager
def refusals() -> Iterator[None]:
    """What is told to a person: a run that cannot go on for a reason in its data, which no retry changes."""
    from recsys_assets.recommender.events import EmptyCatalogueError
    from recsys_assets.recommender.ranker import NoTrainingRowsError
    from recsys_assets.training.pins import NotReady
    from recsys_assets.training.tuning import NothingToTune, TuningBroken

    try:
        yield
    except (NotReady, NoTrainingRowsError, EmptyCatalogueError, NothingToTune, TuningBroken) as refused:
        raise dg.Failure(str(refused), allow_retries=False) from refused
