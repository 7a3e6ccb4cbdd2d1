"""Processes in other time zones and locales, as somebody's shell would start them.

Here: the zones, the moments that are special in them, and one process per zone that runs functions. Not here: any test.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pytest

# Zone: what is special about it.
ZONES: Final = {
    "UTC": "no offset and no daylight saving",
    "America/New_York": "west of Greenwich; 02:30 on 10 March 2024 does not exist, 01:30 on 3 November comes twice",
    "Asia/Kolkata": "east of Greenwich by hours and a half",
    "America/Havana": "midnight on 10 March 2024 does not exist, midnight on 3 November 2024 comes twice",
    "Pacific/Apia": "30 December 2011 does not exist",
}
MOMENTS: Final = (
    datetime(2024, 1, 31, tzinfo=UTC),
    datetime(2024, 7, 31, tzinfo=UTC),
    datetime(2024, 3, 10, tzinfo=UTC),
    datetime(2024, 3, 10, 2, 30, tzinfo=UTC),
    datetime(2024, 11, 3, tzinfo=UTC),
    datetime(2024, 11, 3, 1, 30, tzinfo=UTC),
    datetime(2011, 12, 30, tzinfo=UTC),
)
# Without these two, Python would take UTF-8 where the locale says ASCII.
ASCII_LOCALE: Final = {"LC_ALL": "C", "LANG": "C", "LANGUAGE": "de", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LIMIT_SECONDS: Final = 180.0

Run = Callable[..., Any]


@contextmanager
def process(variables: Mapping[str, str]) -> Iterator[Run]:
    """A new interpreter with these variables; what it gives runs a function there and gives the result back."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        assert pool.submit(os.getpid).result(LIMIT_SECONDS) != os.getpid()  # it is there, with the variables of now
    try:
        yield lambda function, *values: pool.submit(function, *values).result(LIMIT_SECONDS)
    finally:
        pool.shutdown(cancel_futures=True)


def offset_hours(month: int) -> float:
    """How far this process's local time is ahead of UTC in 2024, so that no test passes because a zone is unknown."""
    noon = datetime(2024, month, 1, 12, tzinfo=UTC).timestamp()
    return time.localtime(noon).tm_gmtoff / 3_600
