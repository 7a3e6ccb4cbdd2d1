"""The asset `drill_report` with its check. Here: what a run does. Not here: playing (play.py), reading (reading.py)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg

from recsys_assets.drills.kinds import DRILL_REPORT
from recsys_assets.drills.verdicts import CHECK
from recsys_assets.settings import Settings


class DrillConfig(dg.Config):
    """`play` names the drill to play before reporting; "none" only reports those that were played."""

    play: Literal["none", "slow", "failing", "worse", "stale_features"] = "none"
    timeout_seconds: float = 900.0


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The one asset of the room."""

    @dg.asset(
        name=DRILL_REPORT,
        group_name="rollout",
        deps=["canary"],
        check_specs=[
            dg.AssetCheckSpec(CHECK, asset=DRILL_REPORT, description="A check stopped the latest drill of each kind.")
        ],
        kinds={"envoy"},
        owners=["team:recommender"],
    )
    def drill_report(
        context: dg.AssetExecutionContext, config: DrillConfig
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        """How fast a bad model was found and gone, each time that one was let in on purpose.

        Grain: one row per drill that ended. Fresh: with each drill; a weekly schedule plays one where it is switched
        on. With `play` set the run lets a bad model in first, through the job `release` and all of its gates.
        """
        from recsys_assets.drills.play import play
        from recsys_assets.drills.records import collect, collect_with
        from recsys_assets.drills.report import metadata
        from recsys_assets.drills.verdicts import judge_drills
        from recsys_assets.resources.gates import check_result

        if config.play != "none":
            by = f"dagster run {context.run.run_id[:8]}"
            played = play(settings, config.play, timeout_seconds=config.timeout_seconds, tell=context.log.info, by=by)
            if played.release_id is None:
                raise dg.Failure(f"{config.play}: no release began; run {played.run_id} is {played.status}")
            collect_with(settings, played.release_id)
        rows = collect(settings, now=datetime.now(UTC))
        yield dg.MaterializeResult(metadata=metadata(rows), check_results=[check_result(judge_drills(rows))])

    return [drill_report]
