"""The asset `exposure_marks`: which answers were of a model that was rolled back, out of the ledger and into a table.

Here: the copy that other rooms may read. Not here: when a mark is made (settle.py), or the rows it marks.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout.jobs import CANARY, EXPOSURE_MARKS
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.rollout.ledger import Ledger


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The one asset."""

    @dg.asset(
        name=EXPOSURE_MARKS,
        group_name="rollout",
        deps=[CANARY],
        kinds={"deltalake", "sqlite"},
        owners=["team:recommender"],
    )
    @one_writer(settings, EXPOSURE_MARKS)
    def exposure_marks(tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one release that was rolled back: what its version answered from `since` to `until` is marked.

        Grain: release. `until` is null unless the version was tried once more. Fresh: every ten minutes, with the
        exposures that it marks.
        """
        import polars as pl

        from recsys_assets import columns
        from recsys_assets.rollout.ledger import open_ledger

        marks = marks_of(open_ledger(settings))
        version = tables.overwrite(EXPOSURE_MARKS, pl.DataFrame(marks, schema=columns.EXPOSURE_MARKS))
        return dg.MaterializeResult(metadata={"dagster/row_count": len(marks), "table_version": version})

    return [exposure_marks]


def marks_of(ledger: "Ledger") -> list[dict[str, Any]]:
    """Rows of columns.EXPOSURE_MARKS.

    The ledger says when the weight was gone. An answer that was under way then came later, and was as bad: a mark
    goes on until the same version is released again, or for good.
    """
    rows = []
    for mark in ledger.marks():
        others = [r for r in ledger.releases() if r.release_id != mark.release_id and r.version == mark.model_version]
        again = min((r.opened_at for r in others if r.opened_at > mark.since), default=None)
        rows.append(
            {
                "release_id": mark.release_id,
                "model_version": mark.model_version,
                "since": mark.since,
                "until": again,
            }
        )
    return rows
