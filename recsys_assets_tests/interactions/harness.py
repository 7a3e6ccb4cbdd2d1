"""The room on a Dagster instance of its own: its sensors are asked, and what they ask for is really run.

Here: `Harness`. Not here: any assertion about the product.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from recsys_assets.features.assets import build_assets as feature_assets
from recsys_assets.interactions.assets import build_assets, build_jobs
from recsys_assets.interactions.sensors import build_sensors
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings


class Harness:
    """The room with the features that its job makes; `tick` asks, `run` does what was asked, `wait` moves the clock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inbox = settings.home / "inbox"
        self.instance = dg.DagsterInstance.ephemeral()
        self.tables = TablesResource.of(settings)
        self.later = timedelta(0)
        self.words = ""
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Start again with other settings, as after an edit of the config file."""
        self.settings = settings
        self.defs = dg.Definitions(
            assets=[*build_assets(settings), *feature_assets(settings)[:2]],
            jobs=build_jobs(settings),
            sensors=build_sensors(settings, clock=lambda: datetime.now(UTC) + self.later),
            resources={"tables": self.tables},
        )

    def wait(self, **time: float) -> None:
        self.later += timedelta(**time)

    def tick(self, sensor: str = "new_days_sensor") -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.defs.get_repository_def(),
            resources={"tables": self.tables},
        )
        result = self.defs.resolve_sensor_def(sensor).evaluate_tick(context)
        self.words = result.skip_message or ""
        return [each for each in result.run_requests or [] if not self._ignored(each)]

    def skipped(self) -> str:
        """Why the tick asks for nothing."""
        assert self.tick() == []
        return self.words

    def _ignored(self, request: dg.RunRequest) -> bool:
        """Dagster's daemon makes no second run of a key."""
        tags = {"dagster/run_key": request.run_key or ""}
        return request.run_key is not None and bool(self.instance.get_runs(dg.RunsFilter(tags=tags)))

    def run(
        self, request: dg.RunRequest, job: str = "ingest", config: dict[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            asset_selection=list(request.asset_selection) if request.asset_selection else None,
            tags={**request.tags, **key},
            run_config=config,
            raise_on_error=False,
        )

    def rounds(self, sensor: str = "new_days_sensor", job: str = "ingest") -> list[bool]:
        """Ask and run until nothing is asked for; whether each run succeeded."""
        done: list[bool] = []
        while requests := self.tick(sensor):
            done += [self.run(each, job).success for each in requests]
            assert len(done) < 20, "it never ends"
        return done
