"""Which tests one worker gets as a whole: a file, as `--dist loadfile` has it, but all journeys together.

Here: that rule. Not here: the order (conftest.py). The journeys share one home, which takes minutes to make.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

JOURNEYS = "recsys_assets_tests/journeys/"


class LoadFileOrJourneys(LoadFileScheduling):
    """A file goes to one worker; the files of the journeys go to one as if they were a single file."""

    def _split_scope(self, nodeid: str) -> str:
        return JOURNEYS if nodeid.startswith(JOURNEYS) else super()._split_scope(nodeid)
