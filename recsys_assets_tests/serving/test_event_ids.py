"""An index knows exactly its ids, and a file that only grows ends with a whole line.

Here: event_ids.py and appendlog.py by themselves. Not here: the log that is made of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.serving.appendlog import AppendFailed, AppendLog
from recsys_assets.serving.event_ids import WIDTH, KnownIds, SealedIds, digest, within

FULL = OSError(28, "No space left on device")


@given(st.sets(st.binary(min_size=WIDTH, max_size=WIDTH), max_size=60), st.binary(min_size=WIDTH, max_size=WIDTH))
def test_an_index_knows_exactly_what_it_was_made_of(inside: set[bytes], other: bytes) -> None:
    index = SealedIds.of(inside)
    assert len(index) == len(inside)
    assert all(each in index for each in inside)
    assert (other in index) == (other in inside)


def test_an_id_across_the_border_of_two_others_is_not_known() -> None:
    # All in one bucket: the bytes of `across` stand in the index before itself, between two digests.
    one, two = b"\0\1" + b"\0" * 12 + b"\0\5", b"\0\2" + b"\7" * 14
    across = (one + two)[14:30]
    assert across not in SealedIds.of([one, two])
    index = SealedIds.of([one, two, across])
    assert [one in index, two in index, across in index] == [True] * 3


def test_an_index_on_the_disk_is_the_one_that_was_saved(tmp_path: Path) -> None:
    ids = [digest(f"e{number}") for number in range(5_000)]
    SealedIds.of(ids[:4_000]).save(tmp_path / "a.ids", covers=77)
    loaded = SealedIds.load(tmp_path / "a.ids", covers=77)
    assert loaded is not None
    assert [each in loaded for each in ids] == [True] * 4_000 + [False] * 1_000
    assert SealedIds.load(tmp_path / "a.ids", covers=78) is None
    assert SealedIds.load(tmp_path / "none.ids", covers=77) is None
    with (tmp_path / "a.ids").open("ab") as file:
        file.write(b"more")
    assert SealedIds.load(tmp_path / "a.ids", covers=77) is None


def test_as_many_whole_indexes_are_kept_as_hold_the_number() -> None:
    three = [SealedIds.of([digest(f"{n}{m}") for m in range(2)]) for n in range(3)]
    assert [len(list(within(three, most))) for most in (0, 1, 2, 3, 4, 5, 99)] == [0, 1, 1, 2, 2, 3, 3]
    assert len(KnownIds({b"x"}, tuple(three))) == 7


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_torn_tail_of_any_length_is_cut_back_to_the_last_whole_line(tmp_path: Path, length: int) -> None:
    for whole in (b"", b"line\n", b"x" * 70_000 + b"\nline\n"):
        (tmp_path / "log").write_bytes(whole + b"t" * length)
        with AppendLog(tmp_path / "log") as log:
            assert (log.repaired_bytes, log.size) == (length, len(whole))
            log.append(b"next\n")
        assert (tmp_path / "log").read_bytes() == whole + b"next\n"


def test_an_append_that_only_half_fitted_leaves_the_file_as_it_was(small_disk: Path) -> None:
    with AppendLog(small_disk / "log") as log:
        log.append(b"first\n")
        with pytest.raises(AppendFailed, match="fitted"):
            log.append(b"x" * (2 << 20) + b"\n")
        assert log.size == len(b"first\n")
        log.append(b"second\n")
    assert (small_disk / "log").read_bytes() == b"first\nsecond\n"


def test_a_file_that_could_not_be_opened_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr("recsys_assets.serving.appendlog.sync_folder", broken)
        with pytest.raises(OSError, match="No space"):
            AppendLog(tmp_path / "log")
    AppendLog(tmp_path / "log").close()
