"""Faults on purpose: the ways in which a model that passed every offline gate can still hurt users.

Here: three drills, for rehearsing a roll-back. Not here: when one is asked for (the ranker's run configuration).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from recsys_assets.serving.ladder import Answer

Fault = Literal["slow", "failing", "crossed_users"]
FAULTS: Final[tuple[Fault, ...]] = ("slow", "failing", "crossed_users")
SLOW_SECONDS: Final = 0.3
FAILING_SHARE: Final = 0.3


class Faults:
    """What goes wrong for requests of real visitors (with `x-user-id`); a probe or a golden request sees none of it,
    which is what makes these the release's business and not the deploy gate's. `slow` shows in the shadow already;
    `failing` is a call that only an answer to a user makes, so that copies in the shadow never meet it."""

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._last: Sequence[Answer] | None = None

    def delay_seconds(self) -> float:
        return SLOW_SECONDS if self._fault == "slow" else 0.0

    def fails(self, request_id: str) -> bool:
        """Whether this request gets a 500: the same share of every kind of request, and again if asked again."""
        if self._fault != "failing":
            return False
        bucket = int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=4).digest())
        return bucket < FAILING_SHARE * 2**32

    def cross(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        """A cache whose key lacks the user: everybody gets what the visitor before got."""
        if self._fault != "crossed_users":
            return answers
        others, self._last = self._last or answers, answers
        return [
            replace(own, items=other.items[: len(own.items)], scores=other.scores[: len(own.items)])
            for own, other in zip(answers, [others[n % len(others)] for n in range(len(answers))], strict=True)
        ]
