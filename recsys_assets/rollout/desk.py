"""What a tick works with: the desk, and the refusal that everything at it may raise.

Here: records of collaborators. Not here: anything done with them (tick.py, settle.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from recsys_assets.platform.interface import Platform
from recsys_assets.records import ModelVersion, Verdict
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.metrics import MetricsSource


class ReleaseRefused(Exception):  # noqa: N818
    """The release may not be opened or changed like this; the message says why."""


class Registry(Protocol):
    """The aliases of the model registry."""

    def set_alias(self, alias: Literal["champion", "challenger"], version: str) -> None: ...
    def drop_alias(self, alias: Literal["champion", "challenger"]) -> None: ...
    def challenger(self) -> ModelVersion | None: ...


@dataclass(frozen=True)
class Desk:
    """Everything a tick works with. `gate` reads the offline gate's verdict again, for one exact version."""

    model_name: str
    platform: Platform
    ledger: Ledger
    metrics: MetricsSource
    registry: Registry
    gate: Callable[[ModelVersion], Verdict]
    top_k: int
    clock: Callable[[], datetime]
