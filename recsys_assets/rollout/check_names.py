"""The checks of the asset `canary`, by name, with what each one asserts.

Here: names that Dagster needs when it loads. Not here: the judgement (analysis.py), which a test holds to these names.
"""

from __future__ import annotations

from typing import Final

CANARY_CHECKS: Final = {
    "canary_is_not_worse": "The canary's engagement is shown to be within the margin of stable's.",
    "canary_has_no_more_errors": "The canary is shown to fail no more often than the plan allows.",
    "canary_is_not_slower": "The canary's 99th percentile is shown to be within the plan's ratio of stable's.",
    "canary_answers_are_not_degraded": "The canary is shown to give no more degraded or empty answers than allowed.",
    "canary_traffic_matches_its_weight": "Visitors arrive in the two arms at the planned shares.",
    "exposures_are_counted": "What the servers say they showed is what the gateway served.",
    "stable_is_healthy": "Stable is fit to take the users back.",
}
