"""The asset `exposure_marks`: which answers were of a model that was rolled back, out of the ledger and into a table.

Here: the copy that other rooms may read. Not here: when a mark is made (settle.py), or the rows it marks.
"""

import dagster as dg

from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout.jobs import CANARY, EXPOSURE_MARKS
from recsys_assets.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The one asset."""

    @dg.asset(
        name=EXPOSURE_MARKS,
        group_name="rollout",
        deps=[CANARY],
        kinds={"deltalake", "sqlite"},
        owners=["team:recommender"],
    )
    def exposure_marks(tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one release that was rolled back: what its version answered from `since` to `until`.

        Grain: release. Fresh: every ten minutes, with the exposures that it marks.
        """
        from dataclasses import asdict

        import polars as pl

        from recsys_assets import columns
        from recsys_assets.rollout.ledger import Ledger

        marks = [asdict(mark) for mark in Ledger(settings.path("ledger.db")).marks()]
        version = tables.overwrite(EXPOSURE_MARKS, pl.DataFrame(marks, schema=columns.EXPOSURE_MARKS))
        return dg.MaterializeResult(metadata={"dagster/row_count": len(marks), "table_version": version})

    return [exposure_marks]
