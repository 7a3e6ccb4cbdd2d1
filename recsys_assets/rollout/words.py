"""A person's words on a release, as jobs: their names, their launchpads, the command that says the same.

Here: text. Not here: the jobs (jobs.py), or what a word does (people.py).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

APPROVE_JOB, PAUSE_JOB, RESUME_JOB, ROLL_BACK_JOB = (
    "approve_release",
    "pause_release",
    "resume_release",
    "roll_back_release",
)
# The one op of each job that takes a person's word on a release.
OPS: Final = {APPROVE_JOB: "approve_it", PAUSE_JOB: "pause_it", RESUME_JOB: "resume_it", ROLL_BACK_JOB: "roll_it_back"}
# A run with this tag waits in no queue (resources/run_coordinator.py).
AT_ONCE: Final = "recsys-assets/at-once"
# The code location, by the name that `-m` gives it; every file that names it says the same (test_code_location.py).
LOCATION: Final = "recsys_assets.definitions"


def how_to_approve(release_id: str) -> dict[str, Any]:
    """The command, and the job with its run config; `who` is for the person to fill in."""
    config = {"release_id": release_id, "who": "", "why": ""}
    return {
        "command": f"recsys-assets approve {release_id} --why '...'",
        "job": APPROVE_JOB,
        "run_config": {"ops": {OPS[APPROVE_JOB]: {"config": config}}},
    }


def steer(ui_url: str, release_id: str) -> str:
    """Markdown: a link to each launchpad."""
    return " | ".join(f"[{job.replace('_', ' ')}]({launchpad(ui_url, job, release_id)})" for job in OPS)


def scaffold(job: str, release_id: str) -> str:
    """The run config as the launchpad opens with it. Without a name it is not valid: nobody launches it unread."""
    return (
        f"ops:\n  {OPS[job]}:\n    config:\n      release_id: {release_id}\n"
        '      # The reason, then your name. Both are kept in the ledger.\n      why: ""\n      who:'
    )


def launchpad(ui_url: str, job: str, release_id: str) -> str:
    """The launchpad of a person's job, its config filled in but for the reason and the name."""
    return f"{ui_url}/locations/{LOCATION}/jobs/{job}/playground/setup?config={quote(scaffold(job, release_id))}"
