"""When an asset that Dagster's automation asked for is asked for again after its run failed.

Here: the condition. Not here: tries of runs that sensors ask for (attempts.py).
What automation asked for once counts as handled, however the run ended: without this a store that was away for a minute
would keep yesterday's features until the next day of events.
"""

from __future__ import annotations

from typing import Any, Final

import dagster as dg

# Rare enough to do no harm where the reason does not pass; each failed run stands in Dagster's list of runs.
EVERY: Final = "*/15 * * * *"


def failed_a_while_ago() -> dg.AutomationCondition[Any]:
    """True at each quarter of an hour while the newest run of the asset has failed and no other is under way."""
    due = dg.AutomationCondition.cron_tick_passed(EVERY, cron_timezone="UTC")
    return dg.AutomationCondition.execution_failed() & due & ~dg.AutomationCondition.in_progress()
