"""The job that makes features again without taking their days in again.

Here: its name and selection. Not here: `ingest`, which makes features of new days (interactions/assets.py).
"""

from typing import TYPE_CHECKING, Final

import dagster as dg

from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

JOB: Final = "features"


def build_jobs(settings: Settings) -> "list[UnresolvedAssetJobDefinition]":
    """`features` makes the features of days that were taken in."""
    return [
        dg.define_asset_job(
            JOB,
            selection=dg.AssetSelection.assets("user_features", "item_features"),
            tags={"recsys-assets/writes": "interactions"},
            description="Features of days whose earlier days have changed. Many days fit into one run.",
        )
    ]
