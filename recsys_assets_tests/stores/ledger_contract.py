"""What every ledger must do, wherever its rows are kept: one suite, which each implementation subclasses.

Here: the claims. Not here: SQLite or Postgres (test_ledger_stores.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from typing import Any, ClassVar

import pytest

from recsys_assets.records import Phase
from recsys_assets.rollout.ledger import Audience, Ledger
from recsys_assets_tests.rollout.build import later
from recsys_assets_tests.waiting import HANG_SECONDS

# A process of its own that appends rows, some of which others append as well.
WRITER = """
import json, sys
from datetime import UTC, datetime
from recsys_assets.rollout.ledger import Ledger
{make}
name, ledger = sys.argv[2], Ledger(book(sys.argv[1]))
def write(key):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return ledger.append("waiting", release_id="r1", actor=name, at=at, key=key, body={{}})
print(json.dumps([sum(write(f"{{name}}/{{n}}") for n in range(25)), sum(write(f"shared/{{n}}") for n in range(10))]))
"""


def write(ledger: Ledger, kind: str, key: str, release: str = "r1", **body: Any) -> bool:
    full = {"version": "2", "digest": "d2", "phase": kind, "weight_bp": 0, "reason": "because"} | body
    return ledger.append(kind, release_id=release, actor="me", at=later(1), key=key, body=full)


class LedgerContract:
    """Subclasses give the fixtures `place`, an address, and `ledger`, which is new and empty there."""

    # Python that defines `book(place)`, for processes of their own.
    make: ClassVar[str]

    def test_a_ledger_that_nobody_wrote_is_empty(self, ledger: Ledger) -> None:
        assert (ledger.events(), ledger.releases(), ledger.last_seq(), ledger.after(0)) == ([], [], 0, [])
        assert not ledger.has("r1/0")

    def test_a_moment_without_a_time_zone_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(ValueError, match=r"has its time zone, found 2026-01-01T00:00:00$"):
            ledger.append("opened", release_id="rel-2", actor="a", at=later(0).replace(tzinfo=None), key="k", body={})
        assert ledger.events() == []

    def test_what_was_written_is_read_back_exactly(self, ledger: Ledger) -> None:
        at = later(0.123456).astimezone(timezone(timedelta(hours=2)))
        body = {
            "text": "ü'; DROP TABLE events; -- %s ? \\ \u0001 \n",
            "deep": {"n": [1, 2.5, None, True]},
            "big": 10**20,
        }
        assert ledger.append("a'b", release_id="r%s", actor='O"Brien', at=at, key="k;1", body=body)
        (event,) = ledger.events("r%s")
        assert (event.kind, event.actor, event.key, event.at, event.body) == ("a'b", 'O"Brien', "k;1", at, body)
        assert ledger.has("k;1")
        assert ledger.events("r' OR '1'='1") == []

    def test_a_key_counts_once_and_the_first_row_stays(self, ledger: Ledger) -> None:
        assert write(ledger, "opened", "r1/0", phase="gated")
        assert not write(ledger, "opened", "r1/0", phase="gated", reason="another")
        assert [event.body["reason"] for event in ledger.events()] == ["because"]

    def test_rows_come_in_the_order_in_which_they_were_written(self, ledger: Ledger) -> None:
        for n in range(12):
            write(ledger, "waiting", f"r1/{n}")
            write(ledger, "waiting", f"r1/{n}")
        events = ledger.events()
        assert [event.key for event in events] == [f"r1/{n}" for n in range(12)]
        numbers = [event.seq for event in events]
        assert numbers == sorted(set(numbers))
        assert ledger.last_seq() == numbers[-1]
        assert [event.key for event in ledger.after(numbers[8])] == ["r1/9", "r1/10", "r1/11"]

    def test_a_release_stands_where_its_latest_phase_row_says(self, ledger: Ledger) -> None:
        write(ledger, "opened", "r1/0", phase="gated")
        write(ledger, "canary", "r1/1", weight_bp=1_000)
        write(ledger, "waiting", "r1/1/waiting/x")
        (row,) = ledger.releases()
        assert (row.phase, row.weight_bp, row.version) == (Phase.CANARY, 1_000, "2")

    def test_a_digest_is_denied_from_its_roll_back_until_an_override(self, ledger: Ledger) -> None:
        write(ledger, "opened", "r1/0", phase="gated")
        write(ledger, "rolled_back", "r1/1")
        assert ledger.denied(later(2)) == {"d2": "r1"}
        write(ledger, "override", "o/1")
        assert ledger.denied(later(2)) == {}

    def test_who_saw_what_is_read_back(self, ledger: Ledger) -> None:
        write(ledger, "audience", "r1/audience", variants=[{"variant": "canary", "visitors": 7, "seconds": 1.5}])
        assert ledger.audience("r1") == [Audience("canary", 7, 1.5)]

    @pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'x'", "DELETE FROM events"])
    def test_a_row_can_be_neither_changed_nor_removed(
        self, ledger: Ledger, refused: Callable[[str], str], statement: str
    ) -> None:
        write(ledger, "opened", "r1/0", phase="gated")
        assert "append-only" in refused(statement)
        assert [event.actor for event in ledger.events()] == ["me"]

    def test_processes_side_by_side_lose_no_row_and_write_none_twice(self, ledger: Ledger, place: str) -> None:
        """They also make the table side by side: nobody wrote it before."""
        code = WRITER.format(make=self.make)
        words = [[sys.executable, "-c", code, place, f"w{n}"] for n in range(3)]
        writers = [subprocess.Popen(each, stdout=subprocess.PIPE) for each in words]
        told = [json.loads(writer.communicate(timeout=HANG_SECONDS)[0]) for writer in writers]
        assert [own for own, _ in told] == [25, 25, 25]
        assert sum(shared for _, shared in told) == 10
        events = ledger.events()
        numbers = [event.seq for event in events]
        assert len(numbers) == 85
        assert numbers == sorted(set(numbers))
        for n in range(3):
            assert [e.key for e in events if e.key.startswith(f"w{n}/")] == [f"w{n}/{k}" for k in range(25)]

    def test_a_reader_who_follows_the_numbers_misses_no_row(self, ledger: Ledger) -> None:
        """Numbers given in one order and seen in another would be lost to the notifier, which asks for newer ones."""
        write(ledger, "waiting", "first")
        with ThreadPoolExecutor(4) as pool:
            writing = [pool.submit(write, ledger, "waiting", f"t/{n}") for n in range(40)]
            seen = [event.seq for event in ledger.after(0)]
            while not all(future.done() for future in writing):
                seen += [event.seq for event in ledger.after(seen[-1])]
        seen += [event.seq for event in ledger.after(seen[-1])]
        assert seen == list(range(1, 42))
