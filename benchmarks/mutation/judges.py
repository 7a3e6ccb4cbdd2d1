"""The files that decide about releases, and the unit tests that judge the mutants of each.

Here: the table. A test is named where it judges by plain calls; those that start processes or browsers are not.
"""

from __future__ import annotations

PACKAGE, TESTS = "recsys_assets", "recsys_assets_tests"


def _judged(room: str, judges: dict[str, str]) -> dict[str, list[str]]:
    """`phases: "phases futility"` -> the file's path: its tests' paths."""
    return {
        f"{PACKAGE}/{room}/{name}.py": [f"{TESTS}/{room}/test_{test}.py" for test in tests.split()]
        for name, tests in judges.items()
    }


# Files of one group are mutated in one copy, so that their tests are collected once.
GROUPS: dict[str, dict[str, list[str]]] = {
    "the decision": _judged(
        "rollout",
        {
            "phases": "guards_phases phases futility",
            "shares": "shares",
            "found_split": "shares route",
            "denials": "denials taking",
            "taking": "taking",
        },
    ),
    "the guard": _judged(
        "rollout", {"breaches": "breaches", "guard": "guards_acts guard guard_loop", "guarding": "guard guard_loop"}
    ),
    "the acts": _judged(
        "rollout",
        {
            "act": "guards_acts act",
            "settle": "guards_acts settle",
            "start": "guards_acts start",
            "route": "route act",
            "agree": "guards_acts settle tick",
        },
    ),
    "the record": _judged("rollout", {"ledger": "ledger people", "clocks": "act"}),
    "the people": _judged(
        "rollout", {"tick": "tick act", "people": "people", "approval": "asking people", "pauses": "asking people"}
    ),
    "the verdicts": _judged(
        "rollout",
        {
            "evidence": "guards_verdicts analysis",
            "counting": "guards_verdicts analysis",
            "guardrails": "guards_verdicts guardrail_limits analysis episodes",
            "analysis": "guards_verdicts analysis plan_metrics covariates",
            "shadow": "analysis",
            "outcomes": "analysis plan_metrics",
            "episodes": "episodes",
            "quality_episodes": "episodes",
        },
    ),
    "the statistics": _judged(
        "rollout",
        {
            "relative_rates": "relative_rates",
            "noninferiority": "noninferiority",
            "covariates": "covariates",
            "sequential": "sequential",
        },
    ),
    "the gates": {
        **_judged("resources", {"gates": "gates"}),
        **_judged(
            "evaluation",
            {
                "gate": "gate evaluate",
                "comparison": "comparison",
                "accuracy": "gate",
                "breadth": "gate",
            },
        ),
        **_judged("serving", {"verdicts": "verdicts"}),
    },
    "the bundle": {
        **_judged("serving", {"attestation": "attestation bundle_refusals"}),
        f"{PACKAGE}/signing.py": [f"{TESTS}/serving/test_signing.py"],
    },
}
JUDGES = {file: tests for group in GROUPS.values() for file, tests in group.items()}
