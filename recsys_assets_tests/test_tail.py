"""Logs read in steps say what they say when read at once, whatever happens to the files between two looks.

Here: tail.py under the three real formats. Not here: what a line must hold (test_logs.py, test_access_log.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets import tail
from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.rollout.metrics import LogMetrics, kept_metrics
from recsys_assets.serving.logs import EXPOSURE_LOG, FEEDBACK_LOG, LogCorrupt
from recsys_assets.tail import LogFormat, Tail, read_whole
from recsys_assets_tests.platform import test_access_log
from recsys_assets_tests.serving import test_logs

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def gateway(number: int, at: datetime = NOON) -> bytes:
    return test_access_log.line(str(number), at=at).encode()


def exposure(number: int) -> bytes:
    return test_logs.line(number)


def text(path: Path, *lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(lines))


class Files:
    """One folder of a log, with everything that may happen to it."""

    def __init__(self, folder: Path, line: Callable[[int], bytes], names: list[str], rng: random.Random) -> None:
        self.folder, self.line, self.names, self.rng = folder, line, names, rng
        self.number, self.rotated = 0, 0
        folder.mkdir(parents=True)

    def append(self) -> None:
        name = self.rng.choice(self.names)
        for _ in range(self.rng.randint(1, 5)):
            self.number += 1
            # Not quite in order, as answers that began earlier end later.
            text(self.folder / name, self.line(self.number + self.rng.choice((0, 0, 1_000)) * 7))

    def tear(self) -> None:
        self.number += 1
        line = self.line(self.number)
        name = self.rng.choice(self.names)
        self.mend(name)
        text(self.folder / name, line[: self.rng.randint(1, len(line) - 1)])

    def mend(self, name: str | None = None) -> None:
        """As a writer does that comes after one that was killed: the torn tail is cut."""
        for path in [self.folder / name] if name else sorted(self.folder.glob("*.jsonl")):
            if path.exists():
                content = path.read_bytes()
                path.write_bytes(content[: content.rfind(b"\n") + 1])

    def rotate(self) -> None:
        self.rotated += 1
        path = self.folder / self.names[0]
        if path.exists():
            path.rename(path.with_name(f"{path.stem}-{self.rotated:06}.jsonl"))

    def truncate(self) -> None:
        path = self.folder / self.names[0]
        if path.exists():
            content = path.read_bytes()
            lines = content.splitlines(keepends=True)
            path.write_bytes(b"".join(lines[: self.rng.randint(0, len(lines))]))

    def replace(self) -> None:
        """Another file under the same name, longer than the old one."""
        path = self.folder / self.names[0]
        if path.exists():
            count = path.read_bytes().count(b"\n") + 3
            path.unlink()
            self.number += count
            text(path, *[self.line(self.number - n) for n in range(count)])

    def remove(self) -> None:
        (self.folder / self.rng.choice(self.names)).unlink(missing_ok=True)


KINDS: dict[str, tuple[LogFormat, Callable[[int], bytes], list[str]]] = {
    "gateway": (GATEWAY_LOG, lambda n: gateway(n, NOON + timedelta(microseconds=n)), ["access.jsonl"]),
    "exposures": (EXPOSURE_LOG, exposure, ["v1.jsonl", "v2.jsonl"]),
    "feedback": (
        FEEDBACK_LOG,
        lambda n: (
            b'{"event_id":"e%d","request_id":"r","item_id":"i","event_type":"click","received_at":"%s"}\n'
            % (n, (test_logs.NOON + timedelta(microseconds=n)).isoformat(timespec="microseconds").encode())
        ),
        ["feedback.jsonl"],
    ),
}
EVENTS = ("append", "append", "append", "tear", "mend", "rotate", "truncate", "replace", "remove")


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), happened=st.lists(st.sampled_from((*EVENTS, "look", "look", "later")), max_size=30))
def test_in_steps_is_what_it_is_at_once(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, happened: list[str]
) -> None:
    format_, line, names = KINDS[kind]
    files = Files(tmp_path_factory.mktemp("log") / "files", line, names, random.Random(seed))
    start = NOON if kind == "gateway" else test_logs.NOON
    since, at = start, Tail(files.folder, format_)
    for what in [*happened, "look"]:
        if what == "later":
            since = start + timedelta(microseconds=files.number // 2)
        elif what == "look":
            key = [format_.time, *format_.order[1:], format_.schema.names()[0]]
            found, whole = at.read(since), read_whole(files.folder, format_, since)
            assert_frame_equal(found.sort(key), whole.sort(key))
            assert not format_.order or found[format_.time].is_sorted()
        else:
            if what == "append":
                files.mend()
            getattr(files, what)()


def test_only_what_is_new_is_parsed(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def parse(lines: tail.Lines) -> pl.DataFrame:
        seen.append(lines.content)
        return EXPOSURE_LOG.parse(lines)

    at = Tail(tmp_path, LogFormat(**{**vars(EXPOSURE_LOG), "parse": parse}))
    text(tmp_path / "a.jsonl", exposure(1))
    at.read(test_logs.NOON)
    text(tmp_path / "a.jsonl", exposure(2))
    assert at.read(test_logs.NOON)["request_id"].to_list() == ["r1", "r2"]
    assert at.read(test_logs.NOON).height == 2
    assert seen == [exposure(1), exposure(2)]


def test_a_torn_last_line_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    at = Tail(tmp_path, EXPOSURE_LOG)
    text(tmp_path / "a.jsonl", exposure(1), exposure(2)[:50])
    assert at.read(test_logs.NOON)["request_id"].to_list() == ["r1"]
    text(tmp_path / "a.jsonl", exposure(2)[50:])
    assert at.read(test_logs.NOON)["request_id"].to_list() == ["r1", "r2"]


def test_a_broken_line_is_named_by_its_place_in_the_file_at_every_look_until_it_is_gone(tmp_path: Path) -> None:
    at, path = Tail(tmp_path, EXPOSURE_LOG), tmp_path / "a.jsonl"
    for number in (1, 2):
        text(path, exposure(number))
        at.read(test_logs.NOON)
    text(path, exposure(3), b"garbage\n", exposure(4))
    for _ in range(2):
        with pytest.raises(LogCorrupt, match=r"a\.jsonl: line 4 is not JSON"):
            at.read(test_logs.NOON)
    path.write_bytes(exposure(1) + exposure(2) + exposure(3))
    assert at.read(test_logs.NOON).height == 3


def test_rows_of_one_moment_stand_in_their_order_whenever_they_came(tmp_path: Path) -> None:
    at = Tail(tmp_path, EXPOSURE_LOG)
    late = exposure(1).replace(b'"r1"', b'"r0"')
    text(tmp_path / "a.jsonl", exposure(1), exposure(2))
    at.read(test_logs.NOON)
    text(tmp_path / "a.jsonl", late)
    assert at.read(test_logs.NOON)["request_id"].to_list() == ["r0", "r1", "r2"]


def test_a_log_moved_aside_while_the_folder_is_listed_is_found(tmp_path: Path) -> None:
    def files(folder: Path, since: datetime | None) -> Sequence[Path]:
        listed = GATEWAY_LOG.files(folder, since)
        if not (folder / "access-1.jsonl").exists() and at._rows is not None:
            (folder / "access.jsonl").rename(folder / "access-1.jsonl")
            text(folder / "access.jsonl", gateway(3))
        return listed

    at = Tail(tmp_path, LogFormat(**{**vars(GATEWAY_LOG), "files": files}))
    text(tmp_path / "access.jsonl", gateway(1), gateway(2))
    assert at.read(NOON).height == 2
    assert at.read(NOON)["request_id"].to_list() == ["1", "2", "3"]


def test_a_file_cut_off_and_written_on_past_the_old_end_is_read_anew(tmp_path: Path) -> None:
    at, path = Tail(tmp_path, EXPOSURE_LOG), tmp_path / "a.jsonl"
    text(path, exposure(1), exposure(2))
    at.read(test_logs.NOON)
    path.write_bytes(b"")  # the inode stays
    text(path, exposure(5), exposure(6), exposure(7))
    assert at.read(test_logs.NOON)["request_id"].to_list() == ["r5", "r6", "r7"]


def test_rows_before_the_asked_moment_are_not_kept_and_an_earlier_one_brings_them_back(tmp_path: Path) -> None:
    at = Tail(tmp_path, EXPOSURE_LOG)
    text(tmp_path / "a.jsonl", *map(exposure, range(1, 6)))
    later = test_logs.NOON + timedelta(microseconds=4)
    assert at.read(test_logs.NOON).height == 5
    assert at.read(later).height == 2
    assert at._rows is not None
    assert at._rows.height == 2
    assert at.read(test_logs.NOON).height == 5


@pytest.mark.parametrize("name", ["access-20260102T120000.jsonl", "access.jsonl.1", "access.1.jsonl"])
def test_a_log_moved_aside_keeps_its_rows_in_the_release_under_way(tmp_path: Path, name: str) -> None:
    metrics, folder = LogMetrics(tmp_path), tmp_path / "logs" / "gateway"
    text(folder / "access.jsonl", gateway(1), gateway(2))
    first = metrics.gateway_only(NOON).gateway
    assert first is not None
    assert first.height == 2
    (folder / "access.jsonl").rename(folder / name)
    text(folder / "access.jsonl", gateway(3))
    found = metrics.gateway_only(NOON).gateway
    assert found is not None
    assert found["request_id"].to_list() == ["1", "2", "3"]


def test_a_log_moved_aside_long_before_is_not_opened(tmp_path: Path) -> None:
    text(tmp_path / "access-1.jsonl", gateway(1))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert GATEWAY_LOG.files(tmp_path, tomorrow) == [tmp_path / "access.jsonl"]
    assert [p.name for p in GATEWAY_LOG.files(tmp_path, NOON)] == ["access-1.jsonl", "access.jsonl"]


def test_a_line_longer_than_a_block_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "BLOCK_BYTES", 64)
    text(tmp_path / "a.jsonl", *map(exposure, range(1, 4)), exposure(4)[:100])
    assert read_whole(tmp_path, EXPOSURE_LOG).height == 3


def test_each_source_fails_by_itself_and_heals(tmp_path: Path) -> None:
    metrics: LogMetrics = kept_metrics(tmp_path)
    assert metrics is kept_metrics(tmp_path)
    path = tmp_path / "logs" / "exposures" / "v1.jsonl"
    text(path, b"garbage\n")
    logs: Any = metrics.logs(test_logs.NOON)
    assert logs.exposures is None
    assert (logs.feedback.height, logs.gateway.height) == (0, 0)
    assert "line 1" in metrics.problems["exposures"]
    path.write_bytes(exposure(1))
    assert metrics.logs(test_logs.NOON).exposures is not None
    assert metrics.problems == {}
