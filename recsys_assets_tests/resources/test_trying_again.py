"""An asset that automation asked for and whose run failed is asked for again, and no more once it was made.

Here: the product's own conditions, in Dagster's evaluation of a moment. Not here: what sensors ask for (test_attempts).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from recsys_assets.drift.assets import build_assets as drift_assets
from recsys_assets.features.assets import build_assets as feature_assets
from recsys_assets.settings import Settings

DAY = "2026-01-03"
NOON = datetime(2026, 1, 4, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Automation:
    """The asset's condition on a function that fails while `away` is set, with the tables that it depends on."""

    def __init__(self, settings: Settings, name: str) -> None:
        built = [*feature_assets(settings), *drift_assets(settings)]
        condition = next(
            spec.automation_condition for each in built for spec in each.specs if spec.key == dg.AssetKey(name)
        )
        self.away = True
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: object = None
        self.key = dg.AssetKey(name)
        days = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-06")

        @dg.asset(partitions_def=days)
        def user_features() -> None: ...

        @dg.asset(partitions_def=days)
        def item_features() -> None: ...

        @dg.asset(name=name, deps=[user_features, item_features], automation_condition=condition)
        def driven() -> None:
            if self.away:
                raise ConnectionError("the store is away")

        self.tables, self.driven = [user_features, item_features], driven
        self.defs = dg.Definitions(assets=[*self.tables, driven])

    def asked(self, at: datetime) -> int:
        """How often the asset is asked for in the evaluation of this moment."""
        found = dg.evaluate_automation_conditions(self.defs, self.instance, evaluation_time=at, cursor=self.cursor)
        self.cursor = found.cursor
        return found.get_num_requested(self.key)

    def new_rows(self) -> None:
        dg.materialize(self.tables, partition_key=DAY, instance=self.instance)

    def run(self) -> bool:
        result = dg.materialize(
            [*self.tables, self.driven],
            selection=[self.key.to_user_string()],
            instance=self.instance,
            raise_on_error=False,
        )
        return result.success


@pytest.fixture(params=["online_features", "drift_report"])
def automation(request: pytest.FixtureRequest, settings: Settings) -> Automation:
    made = Automation(settings, request.param)
    assert made.asked(NOON) == 0, "nothing was made yet"
    made.new_rows()
    assert made.asked(NOON + MINUTE) == 1, "new rows ask"
    return made


def test_a_run_that_failed_is_asked_for_again_within_a_quarter_of_an_hour_until_one_succeeds(
    automation: Automation,
) -> None:
    assert not automation.run()
    assert automation.asked(NOON + 2 * MINUTE) == 0, "not at once"
    assert automation.asked(NOON + 15 * MINUTE) == 1
    assert not automation.run()
    assert automation.asked(NOON + 16 * MINUTE) == 0
    automation.away = False
    assert automation.asked(NOON + 30 * MINUTE) == 1
    assert automation.run()
    assert automation.asked(NOON + 45 * MINUTE) == 0


def test_a_run_that_succeeded_is_not_asked_for_again(automation: Automation) -> None:
    automation.away = False
    assert automation.run()
    assert [automation.asked(NOON + minutes * MINUTE) for minutes in (2, 15, 30)] == [0, 0, 0]
