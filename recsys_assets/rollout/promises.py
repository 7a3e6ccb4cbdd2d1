"""The plan of a release in words: what was promised before the first user saw it.

Here: rows of text, the same in the UI and on the command line. Not here: the plan itself (records.AnalysisPlan).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEANING = {
    "metric": "what is compared, for each visitor",
    "steps_bp": "the canary's shares, one after the other",
    "margin": "the largest loss that passes, relative to stable",
    "alpha": "the error rate of each bound, however often one looks",
    "attribution_seconds": "how long after the first answer a visitor's acts count",
    "min_visitors_per_arm": "seen in each step before the next",
    "shadow_requests": "answered in the shadow before any user sees it",
    "bake_seconds": "at 100 % before stable is removed",
    "deadline_seconds": "without a verdict by then it is rolled back",
    "lease_seconds": "without a look for so long the guard takes the weight",
    "max_error_rate_increase": "more errors than this roll it back",
    "max_p99_ratio": "slower than this rolls it back",
    "max_degraded_rate_increase": "more degraded answers than this roll it back",
    "needs_approval": "whether a person lets it go to everybody",
    "metrics": "what else may not be worse",
    "power": "how probably a release without loss passes; one that no longer can is stopped",
    "history_seconds": "how far back visitors are told apart, for a smaller variance",
    "max_error_rate_ratio": "more errors than this, relative to stable, roll it back",
    "latency_limits": "slower than this at these quantiles rolls it back, too",
}


def promises(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and meaning of everything in a plan's JSON: what was written then, not what is known now."""
    return [(name, _told(name, value), _MEANING.get(name, "")) for name, value in plan.items()]


def _told(name: str, value: Any) -> str:
    if name == "steps_bp":
        return ", ".join(f"{step / 100:g} %" for step in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(" ".join(f"{k} {v}" for k, v in each.items() if v) for each in value) or "none"
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)
