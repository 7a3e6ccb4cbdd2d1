"""What a tick works with: the desk, and the refusal that everything at it may raise.

Here: records of collaborators. Not here: anything done with them (tick.py, settle.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from recsys_assets.errors import UserFacingError
from recsys_assets.platform.interface import Platform
from recsys_assets.records import Decision, ModelVersion, Verdict
from recsys_assets.rollout.clocks import ClockMark
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.metrics import MetricsSource

if TYPE_CHECKING:
    from recsys_assets.rollout.route import RouteState


class ReleaseRefused(UserFacingError):  # noqa: N818
    """The release may not be opened or changed like this; the message says why."""


class Registry(Protocol):
    """The aliases of the model registry."""

    def set_alias(self, alias: Literal["champion", "challenger"], version: str) -> None: ...
    def drop_alias(self, alias: Literal["champion", "challenger"]) -> None: ...
    def champion(self) -> ModelVersion | None: ...
    def challenger(self) -> ModelVersion | None: ...
    def versions(self) -> list[ModelVersion]: ...


def shown_nowhere(state: RouteState, decision: Decision) -> None:
    """Where no Dagster is at hand, a question stands in the ledger only."""


@dataclass(frozen=True)
class Desk:
    """Everything a tick works with.

    `gate` reads the offline gate's verdict again, for one exact version; `mark` reads the clock together with one that
    nobody can set; `show_question` tells people in Dagster that a release waits for them.
    """

    model_name: str
    platform: Platform
    ledger: Ledger
    metrics: MetricsSource
    registry: Registry
    gate: Callable[[ModelVersion], Verdict]
    top_k: int
    clock: Callable[[], datetime]
    mark: Callable[[], ClockMark | None] = lambda: None
    show_question: Callable[[RouteState, Decision], None] = shown_nowhere
    # Whether a guard lives that takes the weight when nobody else can.
    guarded: Callable[[], bool] = lambda: True
    # Verifies what is on the disk once more before users see it; None where no tick is made, as on the command line.
    bundle: Callable[[ModelVersion], Verdict] | None = None
