"""The names of the blocking checks on `evaluation_report`, and what each asserts.

Here: names only, so that definitions load without the numbers. Not here: the rules, which stand in gate.py.
"""

from __future__ import annotations

EVALUATION_REPORT = "evaluation_report"


def described(metric: str) -> dict[str, str]:
    """Every check by name; the accuracy checks carry the name of the metric they look at."""
    return {
        f"{metric}_not_below_champion": "The lower bound of the paired relative difference stays above the margin.",
        f"{metric}_not_below_recent_popularity": "At least as good as the recently popular items.",
        "no_slice_lost": "New users, warm users and long-tail items each keep their accuracy.",
        "catalogue_coverage_kept": "Users are still shown enough different items.",
        "popularity_not_collapsed": "Not everybody gets the same popular list.",
        "evaluation_has_enough_users": "Enough users were active in the test window to prove anything.",
    }


def check_names(metric: str) -> tuple[str, ...]:
    """The names that `read_gate` has to be asked for."""
    return tuple(described(metric))
