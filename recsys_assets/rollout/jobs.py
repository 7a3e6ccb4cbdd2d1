"""The jobs of a release, the one that collects what came of it, and what a person may do from the Dagster UI.

Here: names and small jobs. Not here: the assets that they select (assets.py), or what a person's word does (people.py).
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import dagster as dg
from pydantic import Field

from recsys_assets.rollout.denials import DEFAULT_EXPIRES
from recsys_assets.rollout.words import APPROVE_JOB, AT_ONCE, OPS, PAUSE_JOB, RESUME_JOB, ROLL_BACK_JOB
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.rollout.desk import Desk

_T = TypeVar("_T")
_WORD = {AT_ONCE: "a person's word"}
# Ticks and words are seconds of work: on a cluster, too, they run where the run does, not in a pod for each step.
AT_HAND = dg.in_process_executor
SHADOW_COMPARISON, CANARY, CHAMPION = "shadow_comparison", "canary", "champion"
EXPOSURE_MARKS = "exposure_marks"
# A run that opens or moves a release carries its id.
RELEASE_TAG = "recsys_assets/release"
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

    release_id: str = Field(description="The release's id, as `canary` and `recsys-assets status` show it.")
    who: str = Field(description="Your name; it is kept in the ledger.")
    why: str = Field(description="The reason; it is kept in the ledger.")


class ApprovalWord(ReleaseWord):
    """A person's yes; a reason may be given."""

    why: str = Field(default="", description="What you looked at; it is kept in the ledger.")


class OverrideWord(dg.Config):
    """A person's word on a digest that was rolled back; its first characters are enough."""

    digest: str = Field(description="The digest that was rolled back, or how it begins.")
    who: str = Field(description="Your name; it is kept in the ledger.")
    why: str = Field(description="The reason; it is kept in the ledger.")
    expires: str = Field(default=DEFAULT_EXPIRES, description="For how long: 90m, 24h or 3d; 30 days at the most.")


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
            executor_def=AT_HAND,
            description="Move the release under way on by one tick; the canary sensor starts this.",
        ),
        dg.define_asset_job(
            COLLECT_JOB,
            selection=dg.AssetSelection.assets(EXPOSURE_MARKS, "exposures", "feedback"),
            tags={"recsys-assets/writes": "feedback"},
            executor_def=AT_HAND,
            description="What was shown and what users did with it, from the logs into tables.",
        ),
        *_person_jobs(settings),
    ]


def _person_jobs(settings: Settings) -> list[Any]:
    """What a person may do from the UI, one small job each. Never tried again: a refusal is an answer."""
    return [
        _approve(settings),
        _steer(settings, PAUSE_JOB, "pause", "Stop the release where it stands; harm still rolls it back."),
        _steer(settings, RESUME_JOB, "resume", "Let a paused release go on."),
        _steer(settings, ROLL_BACK_JOB, "rollback_now", "Take the canary's weight away now."),
        _override(settings),
    ]


def _approve(settings: Settings) -> dg.JobDefinition:
    @dg.op(name=OPS[APPROVE_JOB])
    def approve_it(context: dg.OpExecutionContext, config: ApprovalWord) -> None:
        from recsys_assets.rollout.people import approve

        _said(context, lambda desk: approve(desk, config.release_id, who=config.who, why=config.why), settings)
        context.log.info(f"{config.release_id}: approved by {config.who}")

    @dg.job(
        name=APPROVE_JOB,
        executor_def=AT_HAND,
        tags=_WORD,
        description="Let the release that waits for it go to everybody.",
    )
    def approve_release() -> None:
        approve_it()

    return approve_release


def _steer(settings: Settings, job: str, word: Literal["pause", "resume", "rollback_now"], what: str) -> Any:
    @dg.op(name=OPS[job])
    def steer_it(context: dg.OpExecutionContext, config: ReleaseWord) -> None:
        from recsys_assets.rollout import people

        say = {"pause": people.pause, "resume": people.resume, "rollback_now": people.rollback_now}[word]
        _said(context, lambda desk: say(desk, config.release_id, who=config.who, why=config.why), settings)
        context.log.info(f"{config.release_id}: {job} by {config.who}")

    @dg.job(name=job, executor_def=AT_HAND, tags=_WORD, description=what)
    def steer_release() -> None:
        steer_it()

    return steer_release


def _override(settings: Settings) -> dg.JobDefinition:
    @dg.op
    def override_it(context: dg.OpExecutionContext, config: OverrideWord) -> None:
        from recsys_assets.rollout.people import override, read_expiry

        def say(desk: "Desk") -> tuple[str, datetime]:
            return override(desk, config.digest, who=config.who, why=config.why, expires=read_expiry(config.expires))

        digest, until = _said(context, say, settings)
        context.log.info(f"{digest} may be released until {until.isoformat(timespec='seconds')}")

    @dg.job(
        executor_def=AT_HAND,
        tags=_WORD,
        description="Let a digest that was rolled back be released again, for some time.",
    )
    def override_rolled_back_digest() -> None:
        override_it()

    return override_rolled_back_digest


def _said(context: dg.OpExecutionContext, say: "Callable[[Desk], _T]", settings: Settings) -> _T:
    """Do it, or fail with the refusal as a sentence instead of a stack trace."""
    from recsys_assets.platform.interface import PlatformError
    from recsys_assets.rollout.desk import ReleaseRefused

    try:
        return say(_desk(settings, context))
    except (ReleaseRefused, PlatformError) as refused:
        raise dg.Failure(f"refused: {refused}", allow_retries=False) from None


def _desk(settings: Settings, context: dg.OpExecutionContext) -> "Desk":
    from recsys_assets.resources.platform import PlatformResource
    from recsys_assets.resources.registry import ModelRegistryResource
    from recsys_assets.rollout.opening import open_desk

    platform = PlatformResource.from_settings(settings)
    registry = ModelRegistryResource(home=str(settings.home), model_name=settings.model_name)
    return open_desk(settings, platform, registry, context.instance)
