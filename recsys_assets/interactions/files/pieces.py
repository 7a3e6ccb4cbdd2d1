"""A text file as pieces of whole lines, a few megabytes each, so that a file of any size is looked at in little memory.

Here: cutting bytes at line ends. Not here: what a line means (csv_records.py, json_lines.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from recsys_assets.interactions.formats import SourceUnreadableError

BOM: Final = b"\xef\xbb\xbf"
_READ: Final = 1 << 22
# An event or an item takes some hundred bytes. A line that does not end is another kind of file.
LONGEST_LINE: Final = 1 << 26


def pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes without a byte order mark; each piece ends with a line feed, the last one too."""
    rest: list[bytes] = []
    waiting = 0
    with path.open("rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        while read := file.read(_READ):
            end = read.rfind(b"\n") + 1
            if end == 0:
                rest.append(read)
                waiting += len(read)
            else:
                yield b"".join([*rest, read[:end]])
                rest, waiting = [read[end:]], len(read) - end
            if waiting > LONGEST_LINE:
                raise SourceUnreadableError(f"a line is longer than {LONGEST_LINE >> 20} MiB: lines must end with LF")
    if last := b"".join(rest):
        yield last + b"\n"


def not_utf8(piece: bytes) -> tuple[int, str] | None:
    """(place in the piece, what is wrong) of the first byte that is no UTF-8."""
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError as broken:
        byte = piece[broken.start]
        return broken.start, f"byte 0x{byte:02x} is not UTF-8: convert the file (iconv -f WINDOWS-1252 -t UTF-8)"
    return None
