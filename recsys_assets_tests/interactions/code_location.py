"""The room as a code location that Dagster's own daemon can load: `dagster-daemon run -m` this module.

Here: definitions over the settings of the environment. Not here: any test.
"""

from __future__ import annotations

import dagster as dg

from recsys_assets.features.assets import build_assets as feature_assets
from recsys_assets.interactions.assets import build_assets, build_jobs
from recsys_assets.interactions.sensors import build_sensors
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import load_settings

settings = load_settings()
defs = dg.Definitions(
    assets=[*build_assets(settings), *feature_assets(settings)[:2]],
    jobs=build_jobs(settings),
    sensors=build_sensors(settings),
    resources={"tables": TablesResource.of(settings)},
    executor=dg.in_process_executor,
)
