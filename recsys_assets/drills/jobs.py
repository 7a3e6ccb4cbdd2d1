"""The job `drill`. Here: its name. Not here: what it does (assets.py), when it runs by itself (schedules.py)."""

from typing import Any

import dagster as dg

from recsys_assets.drills.kinds import DRILL_JOB, DRILL_REPORT
from recsys_assets.settings import Settings


def build_jobs(settings: Settings) -> list[Any]:
    """`drill`: plays what its run config names, then reports."""
    return [
        dg.define_asset_job(
            DRILL_JOB,
            selection=dg.AssetSelection.assets(DRILL_REPORT),
            description="Let a bad model in on purpose (config: play) and report how it was found.",
        )
    ]
