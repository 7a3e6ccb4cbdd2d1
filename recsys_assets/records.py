"""The frozen records that travel through the rooms, from ModelVersion to Decision.

Here: values and their JSON. Not here: any decision, any clock, any client.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelVersion(_Record):
    """One trained model, written once by training and repeated wherever the model goes.

    `bundle_digest` is the SHA-256 (hex) of the bundle's manifest; `table_versions` are Delta versions by table name;
    `as_of` is the end of the newest complete partition it was trained on (UTC).
    """

    name: str
    version: str
    run_id: str
    feature_service: str
    table_versions: dict[str, int]
    code_version: str
    bundle_digest: str
    as_of: AwareDatetime
    drill: str | None = None

    @property
    def service_name(self) -> str:
        """Name of the InferenceService of this version: a DNS label, such as `recommender-v12`."""
        return f"{self.name}-v{self.version}"

    def labels(self) -> dict[str, str]:
        """The strings that mark this version in manifests, tags and metrics."""
        return {
            "model": self.name,
            "model_version": self.version,
            "mlflow_run_id": self.run_id,
            "bundle_digest": self.bundle_digest[:16],
        }


class Outcome(StrEnum):
    """What a check or an analysis says. Only PASS lets a release go on."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Phase(StrEnum):
    """Where a release stands. The last four are ends."""

    CANDIDATE = "candidate"
    GATED = "gated"
    SHADOW = "shadow"
    CANARY = "canary"
    BAKING = "baking"
    CHAMPION = "champion"
    REJECTED = "rejected"
    HELD = "held"
    ROLLED_BACK = "rolled_back"

    @property
    def is_end(self) -> bool:
        return self in {Phase.CHAMPION, Phase.REJECTED, Phase.HELD, Phase.ROLLED_BACK}


class Measurement(_Record):
    """One number with its interval. `low` and `high` are None where no interval is defined; `n` is the unit count."""

    name: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    unit: str = ""


class Episode(_Record):
    """One stretch of time, or one visitor, without which a failure that was shown would not be shown; `others` names
    further stretches, where it takes them as well.

    `count` events of the canary, named by `what`, from `began` on for `seconds`. `stalled` is what the logs of
    stalls say of that time.
    """

    what: str
    count: int = Field(ge=0)
    began: AwareDatetime
    seconds: float = Field(ge=0)
    stalled: str = ""
    others: str = ""

    @property
    def ended(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)

    def told(self) -> str:
        """`61 timeouts within 5 s at 22:11:07 UTC`."""
        at = self.began.astimezone(UTC)
        within = f"{self.count} {self.what} within {max(1, round(self.seconds))} s at {at:%H:%M:%S} UTC"
        within = f"{within} and {self.others}" if self.others else within
        return f"{within}; {self.stalled}" if self.stalled else within

    def counted(self) -> str:
        """How many it is, in words."""
        return "two episodes" if self.others else "one episode"


class Verdict(_Record):
    """The outcome of one gate for one exact model version, with the numbers it stands on.

    `futile`: INCONCLUSIVE, and a PASS has become improbable. It says nothing of harm.
    `basis`: what an INCONCLUSIVE verdict was looked for in. Only in `enough` data could harm have been shown; `none`
    means that the sources could not be read at all. `episode`: what a FAIL rests on, where one stretch of time or one
    visitor is all that it rests on.
    """

    check: str
    model_version: str
    outcome: Outcome
    reason: str
    measurements: tuple[Measurement, ...] = ()
    futile: bool = False
    basis: Literal["enough", "too_little", "none"] = "enough"
    episode: Episode | None = None

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASS


class TrafficSplit(_Record):
    """Who gets what at the gateway, in basis points (10,000 = all). `shadow` gets copies and answers nobody."""

    stable: str
    canary: str | None = None
    canary_weight_bp: int = Field(default=0, ge=0, le=10_000)
    shadow: str | None = None


ENGAGEMENT = "engagement"
# The largest share, in basis points, of a canary that is still compared: half of the users. Beyond it each further user
# who sees the canary tells less about it than the one before, and at 10,000 nothing is compared (docs/statistics.md).
MAX_COMPARED_BP: Final = 5_000
# The validation context of a plan that was promised before this rule: it can be read, so that its release can be ended.
# No share beyond MAX_COMPARED_BP is written for it either (AnalysisPlan.share_bp).
AS_STORED: Final = {"as_stored": True}


class _Promise(_Record):
    """A part of a plan: what is promised is a number, never endless or none."""

    model_config = ConfigDict(allow_inf_nan=False)


class MetricPlan(_Promise):
    """What is counted for each visitor within the attribution window, and the largest relative loss of it accepted.

    `event_types` are the feedback events that count (empty: all but impressions), always on items that were shown.
    `statistic`: how many distinct items, whether any event at all (1 or 0), or how many events. `cap` bounds a
    visitor's count, since one visitor must not outweigh a thousand others; where it is not given, `top_k` does.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    event_types: tuple[str, ...] = ()
    statistic: Literal["distinct_items", "any_event", "events"] = "distinct_items"
    cap: int | None = Field(default=None, ge=1)
    margin: float = Field(gt=0, lt=1)


class LatencyLimit(_Promise):
    """The canary's quantile of latency may be at most `max_ratio` times stable's."""

    quantile: float = Field(gt=0, lt=1)
    max_ratio: float = Field(gt=1)


class AnalysisPlan(_Promise):
    """What was promised before the first user saw the canary; it is never changed afterwards.

    `steps_bp` are canary weights in basis points, each larger than the one before and none larger than
    MAX_COMPARED_BP: all users come after the last one, and only when every verdict passed. `margin` is the largest
    relative loss of the metric that is acceptable (0.1 = 10 % of the stable mean); `alpha` is the error rate of each
    one-sided sequential bound. `metrics` are judged besides `metric`, each with its own margin; one of the same name
    says what `metric` is. `power`: a release whose truth is no loss at all is to pass with this probability, and one
    that no longer can is stopped as futile; None never stops for that. `history_seconds`: how far before the release a
    visitor's acts are looked up, to tell busy visitors from others; 0 looks up nothing. `max_error_rate_ratio` is a
    limit besides `max_error_rate_increase`; `latency_limits` are limits besides `max_p99_ratio`.
    """

    metric: str = ENGAGEMENT
    steps_bp: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(min_length=1)
    margin: float = Field(gt=0, lt=1)
    alpha: float = Field(gt=0, lt=0.5)
    attribution_seconds: float = Field(gt=0)
    min_visitors_per_arm: int = Field(ge=1)
    shadow_requests: int = Field(ge=0)
    bake_seconds: float = Field(ge=0)
    deadline_seconds: float = Field(gt=0)
    lease_seconds: float = Field(gt=0)
    max_error_rate_increase: float = Field(gt=0, lt=1)
    max_p99_ratio: float = Field(gt=1)
    max_degraded_rate_increase: float = Field(gt=0, lt=1)
    needs_approval: bool = False
    metrics: tuple[MetricPlan, ...] = ()
    power: float | None = Field(default=None, ge=0.5, lt=1)
    history_seconds: float = Field(default=0.0, ge=0)
    max_error_rate_ratio: float = Field(default=1.25, gt=1)
    latency_limits: tuple[LatencyLimit, ...] = ()

    @field_validator("steps_bp")
    @classmethod
    def _steps_ascend_while_there_is_a_comparison(cls, steps: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise ValueError("must ascend: each step shows the canary to more users than the one before")
        if steps[-1] > MAX_COMPARED_BP and not (info.context or {}).get("as_stored"):
            raise ValueError(
                f"the last step is {steps[-1]}, at most {MAX_COMPARED_BP} is allowed: beyond half of the users stable "
                f"has too few left to compare with. End with {MAX_COMPARED_BP} or less; all users follow by themselves "
                "once every verdict has passed"
            )
        return steps

    @model_validator(mode="after")
    def _metric_is_known(self) -> Self:
        names = [metric.name for metric in self.metrics]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"metrics named twice: {', '.join(twice)}")
        if self.metric not in {ENGAGEMENT, *names}:
            raise ValueError(f"metric {self.metric!r} is neither {ENGAGEMENT!r} nor one of metrics: {names}")
        return self

    def share_bp(self, step: int) -> int:
        """The canary's share in this step, whatever an old plan says."""
        return min(self.steps_bp[step], MAX_COMPARED_BP)

    @property
    def last_share_bp(self) -> int:
        """The largest share that the canary has before every verdict passed."""
        return self.share_bp(len(self.steps_bp) - 1)

    @property
    def all_metrics(self) -> tuple[MetricPlan, ...]:
        """Every metric that must not be worse, `metric` first."""
        by_name = {self.metric: MetricPlan(name=self.metric, margin=self.margin)} | {m.name: m for m in self.metrics}
        return tuple(by_name.values())


class Release(_Record):
    """One attempt to make one ModelVersion the champion."""

    release_id: str
    model: ModelVersion
    champion: str | None
    plan: AnalysisPlan
    opened_at: AwareDatetime


class Decision(_Record):
    """What one tick decided: the next phase and traffic, and why. `action` is hold, advance, promote, roll_back..."""

    release_id: str
    action: Literal["hold", "advance", "promote", "roll_back", "reject", "pause"]
    phase: Phase
    step: int
    split: TrafficSplit
    reason: str
    verdicts: tuple[Verdict, ...] = ()
    # Nothing is missing but a person's approval.
    asks_approval: bool = False
    # What the end rests on, where that is one episode.
    episode: Episode | None = None
