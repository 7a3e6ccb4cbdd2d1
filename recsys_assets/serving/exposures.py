"""One line for every answer given: who saw what, by which version, on which rung.

Here: the line and its writing, which must never stop an answer. Not here: reading lines back (logs.py).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson

from recsys_assets.serving.appendlog import AppendBusy, AppendFailed, AppendLog
from recsys_assets.serving.ladder import Answer

MAX_WRITERS = 8


def exposure_line(
    answer: Answer,
    *,
    request_id: str,
    served_at: datetime,
    visitor_id: str,
    model_version: str,
    variant: str,
    latency_ms: float,
) -> bytes:
    """One row of columns.EXPOSURES as a line of JSON."""
    row = {
        "request_id": request_id,
        "served_at": served_at.isoformat(timespec="microseconds"),
        "visitor_id": visitor_id,
        "user_id": answer.user_id,
        "model_version": model_version,
        "variant": variant,
        "rung": answer.rung,
        "items": list(answer.items),
        "scores": [float(score) for score in answer.scores],
        "latency_ms": round(latency_ms, 3),
        "flags": list(answer.flags),
    }
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class ExposureLog:
    """Appends to one service's file. A disk that is full costs the line and is counted, never the answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: AppendLog | None = None
        self.lost = 0
        self.written = 0
        self._open()

    def write(self, lines: bytes, count: int) -> bool:
        """Append `count` lines; False where they could not be kept."""
        log = self._log or self._open()
        try:
            if log is None:
                raise AppendFailed(f"{self._path}: cannot be opened")
            log.append(lines)
        except AppendFailed:
            self.lost += count
            return False
        self.written += count
        return True

    def _open(self) -> AppendLog | None:
        # While an older generation of the service still runs it holds its file; every file of the folder is read.
        for number in range(1, MAX_WRITERS + 1):
            path = self._path if number == 1 else self._path.with_suffix(f".{number}{self._path.suffix}")
            try:
                self._log = AppendLog(path)
            except AppendBusy:
                continue
            except OSError:
                return None
            return self._log
        return None

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
