"""What each of Dagster's sensors said when it looked last, for people who have no browser open.

Here: the newest tick of each sensor as a line for `recsys-assets status`. Not here: what a sensor looks at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recsys_assets import home
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorTick


def sensor_lines(settings: Settings) -> Iterator[str]:
    """One line for each sensor that has looked; none where Dagster has not run on this home."""
    if not (settings.dagster_home / "dagster.yaml").is_file():
        return
    import dagster as dg
    from alembic.util.exc import CommandError
    from dagster._core.definitions.run_request import InstigatorType
    from sqlalchemy.exc import SQLAlchemyError

    os.environ.update(home.environment(settings))
    try:
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            ticks = [
                (state.name, instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1))
                for state in states
            ]
    except (SQLAlchemyError, CommandError) as away:  # CommandError: its tables are being made at this moment
        yield f"what the sensors said is not known: Dagster's storage does not answer: {str(away).splitlines()[0]}"
        return
    for name, newest in sorted(ticks):
        if newest and (said := words(newest[0])):
            yield f"{name} at {datetime.fromtimestamp(newest[0].timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC: {said}"


def words(tick: InstigatorTick) -> str:
    """What one tick said; empty where it had nothing to say."""
    if tick.error is not None:
        return f"FAILED: {tick.error.message.strip().splitlines()[0]}"
    if tick.run_ids:
        return f"asked for {len(tick.run_ids)} runs: {', '.join(run[:8] for run in tick.run_ids[:3])}"
    return tick.skip_reason or ""
