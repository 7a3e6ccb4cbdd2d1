"""The only assembler: settings in, one Dagster Definitions out. Loads in under three seconds and touches no network.

Here: which rooms and resources make up the graph. Not here: any asset, check or sensor of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from recsys_assets.drift import assets as drift
from recsys_assets.drift import sensors as drift_sensors
from recsys_assets.drills import assets as drills
from recsys_assets.drills import jobs as drill_jobs
from recsys_assets.drills import schedules as drill_schedules
from recsys_assets.evaluation import assets as evaluation
from recsys_assets.features import assets as features
from recsys_assets.features import checks as feature_checks
from recsys_assets.features import jobs as feature_jobs
from recsys_assets.features import sensors as feature_sensors
from recsys_assets.interactions import assets as interactions
from recsys_assets.interactions import sensors as interaction_sensors
from recsys_assets.resources.build import build_resources
from recsys_assets.resources.executor import executor_of
from recsys_assets.rollout import assets as rollout
from recsys_assets.rollout import jobs as rollout_jobs
from recsys_assets.rollout import marks as rollout_marks
from recsys_assets.rollout import schedules as rollout_schedules
from recsys_assets.rollout import sensors as rollout_sensors
from recsys_assets.serving import assets as serving
from recsys_assets.settings import Settings, load_settings
from recsys_assets.training import assets as training

ROOMS = (interactions, features, training, evaluation, drift, serving, rollout, rollout_marks, drills)
CHECKS = (feature_checks,)
JOBS = (interactions, feature_jobs, training, evaluation, drift, rollout_jobs, drill_jobs)
AUTOMATION = (interaction_sensors, feature_sensors, drift_sensors, rollout_sensors)


def build_defs(settings: Settings, *, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Assemble every room for these settings; `resource_overrides` replace resources by key, for tests."""
    with warnings.catch_warnings():
        # A backfill in one run is beta in the Dagster that the lock pins, and whoever calls the CLI would be told so
        # each time, though there is nothing to be done about it.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _assembled(settings, resource_overrides or {})


def _assembled(settings: Settings, resource_overrides: Mapping[str, Any]) -> dg.Definitions:
    return dg.Definitions(
        assets=[asset for room in ROOMS for asset in room.build_assets(settings)],
        asset_checks=[check for room in CHECKS for check in room.build_checks(settings)],
        jobs=[job for room in JOBS for job in room.build_jobs(settings)],
        sensors=[
            *(sensor for room in AUTOMATION for sensor in room.build_sensors(settings)),
            dg.AutomationConditionSensorDefinition(
                "automation", target=dg.AssetSelection.all(), default_status=dg.DefaultSensorStatus.RUNNING
            ),
        ],
        schedules=[*rollout_schedules.build_schedules(settings), *drill_schedules.build_schedules(settings)],
        resources={**build_resources(settings), **resource_overrides},
        executor=executor_of(settings),
    )


defs = build_defs(load_settings())
