"""The jobs of a release, the one that collects what came of it, and what a person may do from the Dagster UI.

Here: names and small jobs. Not here: the assets that they select (assets.py), or what a person's word does (people.py).
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.rollout.desk import Desk

SHADOW_COMPARISON, CANARY, CHAMPION = "shadow_comparison", "canary", "champion"
EXPOSURE_MARKS = "exposure_marks"
RELEASE_JOB, ADVANCE_JOB, COLLECT_JOB = "release", "advance_release", "collect_feedback"
RELEASE_ASSETS = (
    "online_features",
    "training_rows",
    "candidate_index",
    "ranker_model",
    "evaluation_report",
    "challenger_service",
    SHADOW_COMPARISON,
    CANARY,
    CHAMPION,
)


class ReleaseWord(dg.Config):
    """A person's word on a release."""

    release_id: str
    who: str
    why: str


class OverrideWord(dg.Config):
    """A person's word on a digest that was rolled back; its first characters are enough."""

    digest: str
    who: str
    why: str


def build_jobs(settings: Settings) -> list[Any]:
    """`release`, from rows to a decision; `advance_release`, one tick of it; `collect_feedback`; a person's jobs."""
    return [
        dg.define_asset_job(
            RELEASE_JOB,
            selection=dg.AssetSelection.assets(*RELEASE_ASSETS),
            description="Train, evaluate, deploy and release a model; fails unless it becomes the champion.",
        ),
        dg.define_asset_job(
            ADVANCE_JOB,
            selection=dg.AssetSelection.assets(SHADOW_COMPARISON, CANARY, CHAMPION),
            description="Move the release under way on by one tick; the canary sensor starts this.",
        ),
        dg.define_asset_job(
            COLLECT_JOB,
            selection=dg.AssetSelection.assets(EXPOSURE_MARKS, "exposures", "feedback"),
            tags={"recsys-assets/writes": "feedback"},
            description="What was shown and what users did with it, from the logs into tables.",
        ),
        *_person_jobs(settings),
    ]


def _person_jobs(settings: Settings) -> list[Any]:
    """The jobs `approve_release`, `roll_back_release` and `override_rolled_back_digest`."""

    @dg.op
    def approve_it(context: dg.OpExecutionContext, config: ReleaseWord) -> None:
        from recsys_assets.rollout.people import approve

        new = approve(_desk(settings, context), config.release_id, who=config.who, why=config.why)
        context.log.info(f"{config.release_id}: {'approved' if new else 'was approved before'}")

    @dg.op
    def roll_it_back(context: dg.OpExecutionContext, config: ReleaseWord) -> None:
        from recsys_assets.rollout.people import rollback_now

        decision = rollback_now(_desk(settings, context), config.release_id, who=config.who, why=config.why)
        context.log.info(f"{config.release_id}: {decision.phase.value}")

    @dg.op
    def override_it(context: dg.OpExecutionContext, config: OverrideWord) -> None:
        from recsys_assets.rollout.people import override

        digest = override(_desk(settings, context), config.digest, who=config.who, why=config.why)
        context.log.info(f"{digest} may be tried once more")

    @dg.job(description="Let the release under way go to everybody once its verdicts pass.")
    def approve_release() -> None:
        approve_it()

    @dg.job(description="Take the canary's weight away now.")
    def roll_back_release() -> None:
        roll_it_back()

    @dg.job(description="Let a digest that was rolled back be tried once more.")
    def override_rolled_back_digest() -> None:
        override_it()

    return [approve_release, roll_back_release, override_rolled_back_digest]


def _desk(settings: Settings, context: dg.OpExecutionContext) -> "Desk":
    from recsys_assets.resources.platform import PlatformResource
    from recsys_assets.resources.registry import ModelRegistryResource
    from recsys_assets.rollout.opening import open_desk

    platform = PlatformResource.from_settings(settings)
    registry = ModelRegistryResource(home=str(settings.home), model_name=settings.model_name)
    return open_desk(settings, platform, registry, context.instance)
