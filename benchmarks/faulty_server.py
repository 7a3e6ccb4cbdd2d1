"""The model server with a ranker and a store reader that break on request, for ladder_outages.py only.

Here: `python -m benchmarks.faulty_server <arguments of the server>` with BENCHMARK_FAULT naming the file that says what
is broken now. Not here: any fault that can be forced from outside (locks, files, limits), or any product code.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from recsys_assets.features.online import OnlineReader
from recsys_assets.recommender.recommender import Ranking, Recommender
from recsys_assets.serving import server

LOOK_SECONDS = 0.02
SLOW_RANKING_SECONDS, SLOW_READING_SECONDS = 0.3, 0.03
_now = {"fault": ""}


def _watch(path: Path) -> None:
    while True:
        try:
            _now["fault"] = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            _now["fault"] = ""
        time.sleep(LOOK_SECONDS)


def _break_ranker(recommend: Any) -> Any:
    def broken(self: Recommender, *given: Any, **more: Any) -> Ranking:
        fault = _now["fault"]
        if fault == "ranker_failing":
            raise RuntimeError("planted")
        if fault == "ranker_hanging":
            threading.Event().wait()  # for ever, also after the repair
        if fault == "ranker_slow":
            time.sleep(SLOW_RANKING_SECONDS)
        ranking: Ranking = recommend(self, *given, **more)
        return Ranking(ranking.items, [math.nan] * len(ranking.items)) if fault == "ranker_nan" else ranking

    return broken


def _break_reader(read: Any) -> Any:
    def broken(self: OnlineReader, *given: Any) -> Any:
        if _now["fault"] == "reader_hanging":
            threading.Event().wait()
        if _now["fault"] == "reader_slow":
            time.sleep(SLOW_READING_SECONDS)
        return read(self, *given)

    return broken


if __name__ == "__main__":
    threading.Thread(target=_watch, args=(Path(os.environ["BENCHMARK_FAULT"]),), daemon=True).start()
    Recommender.recommend = _break_ranker(Recommender.recommend)  # type: ignore[method-assign]
    OnlineReader.read_user = _break_reader(OnlineReader.read_user)  # type: ignore[method-assign]
    sys.exit(server.main())
