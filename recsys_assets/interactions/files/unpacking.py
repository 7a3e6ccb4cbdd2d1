"""Text as a reader may see it: unpacked from gzip or zstd into a bounded copy, and in an encoding that can be read.

Here: what the first bytes say, and the copy. Not here: rows.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from recsys_assets.interactions.files.pieces import BOM
from recsys_assets.interactions.formats import SourceUnreadableError

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# Packings that are named and not taken.
_OTHERS: Final = {
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
}
# Real events pack to a tenth or so. What unpacks further than this is made to fill a disk.
MOST_PACKED: Final = 200
FEW_BYTES: Final = 1 << 28
_PATTERN: Final = re.compile(r"[*?\[\]{}]")
_PIECE: Final = 1 << 20
_LOOK: Final = 4_096


@contextmanager
def plain_text(path: Path, kind: str) -> Iterator[Path]:
    """The file itself, or an unpacked copy that lives as long as the block. Raises SourceUnreadableError."""
    start = _start(path)
    if start.startswith((_GZIP, _ZSTD)):
        with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
            unpacked = Path(folder) / "unpacked"
            _unpack(path, unpacked, "gzip" if start.startswith(_GZIP) else "zstd")
            _check_encoding(_start(unpacked), kind, packed=True)
            yield unpacked
        return
    _check_encoding(start, kind, packed=False)
    yield path


@contextmanager
def for_json_reader(path: Path) -> Iterator[Path]:
    """The file under a name, and from a byte on, at which the reader of JSON lines reads it and nothing else: it takes
    `[`, `*` and `?` in a path for a pattern, and a byte order mark for a character of the first line."""
    with path.open("rb") as file, tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        here = Path(folder) / "lines"
        if file.read(len(BOM)) == BOM:
            with here.open("wb") as target:
                shutil.copyfileobj(file, target, _PIECE)
            yield here
        elif _PATTERN.search(str(path)):
            here.symlink_to(path.absolute())
            yield here
        else:
            yield path


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LOOK)


def _check_encoding(start: bytes, kind: str, *, packed: bool) -> None:
    if not start:
        raise SourceUnreadableError("the file is empty: 0 bytes" + (" when unpacked" if packed else ""))
    if packed and start.startswith((_GZIP, _ZSTD)):
        raise SourceUnreadableError("packed twice: unpack it once")
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            raise SourceUnreadableError(f"packed with {name}: unpack it, or pack it with gzip or zstd")
    if kind != "parquet" and (wide := _wide_encoding(start)):
        raise SourceUnreadableError(f"{wide}: convert the file to UTF-8 (iconv -f {wide} -t UTF-8)")
    if kind != "parquet" and start.startswith(b"PAR1"):
        raise SourceUnreadableError("a Parquet file, though its name or `format` says otherwise: set `format: parquet`")


def _wide_encoding(start: bytes) -> str | None:
    """UTF-16 and UTF-32 by their mark, or by the zeros in which they spell plain letters."""
    if start.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    half = len(start) // 2
    even, odd = start[0 : 2 * half : 2].count(0), start[1 : 2 * half : 2].count(0)
    if half >= 2 and max(even, odd) > 0.4 * half and min(even, odd) < 0.1 * half:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return None


def _unpack(path: Path, target: Path, packing: str) -> None:
    import pyarrow  # type: ignore[import-untyped]

    allowed = max(FEW_BYTES, path.stat().st_size * MOST_PACKED)
    try:
        with _open_packed(path, packing) as source, target.open("wb") as file:
            while piece := source.read(_PIECE):
                if file.tell() + len(piece) > allowed:
                    raise SourceUnreadableError(f"packed with {packing}: unpacks to more than {allowed} bytes")
                file.write(piece)
    except (EOFError, zlib.error, pyarrow.ArrowException, OSError) as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise  # this machine's fault (a full disk), not the file's
        raise SourceUnreadableError(f"packed with {packing}, and cut or damaged: {broken}") from broken


def _open_packed(path: Path, packing: str) -> IO[bytes] | Any:
    import pyarrow

    return gzip.open(path, "rb") if packing == "gzip" else pyarrow.input_stream(str(path), compression="zstd")
