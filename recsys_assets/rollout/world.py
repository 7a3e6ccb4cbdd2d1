"""Everything that a decision about a release may depend on, as one frozen value.

Here: the value, and what it says of its verdicts and services. Not here: reading it (tick.py), deciding (phases.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from recsys_assets.platform.interface import ServiceStatus
from recsys_assets.records import Episode, Outcome, Verdict
from recsys_assets.rollout.route import RouteState


@dataclass(frozen=True)
class World:
    """Everything a decision may depend on.

    `services` by name; one that is absent is not ready. `gate` is the offline gate, and in the shadow the bundle;
    `shadow` the comparison in the shadow, `verdicts` the analysis of the canary; None or a missing one is INCONCLUSIVE.
    `visitors` are those (canary, stable) seen and matured in the present step; `denied` the
    digests that were rolled back and have no override; `episodes` are those that ended earlier releases of this
    digest.
    """

    route: RouteState
    services: Mapping[str, ServiceStatus] = field(default_factory=dict)
    gate: Verdict | None = None
    shadow: Verdict | None = None
    verdicts: tuple[Verdict, ...] = ()
    visitors: tuple[int, int] = (0, 0)
    approved: bool = False
    # How long a person was waited for; nobody else's time runs meanwhile.
    waited: timedelta = timedelta(0)
    guarded: bool = True
    denied: frozenset[str] = frozenset()
    episodes: tuple[Episode, ...] = ()

    def outcome(self, verdict: Verdict | None) -> Outcome:
        """A verdict about another version, or none, is INCONCLUSIVE."""
        if verdict is None or verdict.model_version != self.route.version:
            return Outcome.INCONCLUSIVE
        return verdict.outcome

    def named(self, check: str) -> Verdict | None:
        """The verdict of this name. Two of one name contradict each other: neither counts."""
        found = [v for v in self.verdicts if v.check == check]
        return found[0] if len(found) == 1 else None

    def failed(self, *checks: str) -> list[Verdict]:
        """Those that failed. Here a double name counts: one FAIL is enough."""
        return [v for v in self.verdicts if v.check in checks and self.outcome(v) is Outcome.FAIL]

    def open_questions(self, *checks: str) -> list[str]:
        """Why those that did not pass did not."""
        found = [(check, self.named(check)) for check in checks]
        return [
            f"{check}: {verdict.reason if verdict else 'no verdict'}"
            for check, verdict in found
            if self.outcome(verdict) is not Outcome.PASS
        ]

    def ready(self, service: str) -> bool:
        status = self.services.get(service)
        return status is not None and status.ready
