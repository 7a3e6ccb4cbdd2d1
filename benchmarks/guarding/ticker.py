"""A process that ticks a release as a run that stays with it does: `python -m benchmarks.guarding.ticker`.

Here: rollout.tick on the real home, each `tick_seconds`, for as long as a release is under way. Not here: Dagster.
What follows an end is left to the next opening: it would stop the server that the next breach wants warm.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.guarding.house import make_desk, models
from recsys_assets.platform.interface import PlatformError
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.tick import tick
from recsys_assets.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    asked = parser.parse_args()
    settings = load_settings(home=asked.home, config=asked.config)
    desk = make_desk(settings, models(settings))
    print("ticks", flush=True)
    while True:
        try:
            state = read_state(desk.platform, desk.model_name)
            if state is not None and not state.phase.is_end:
                tick(desk, actor="ticker")
        except PlatformError as problem:
            print(problem, flush=True)
        time.sleep(settings.rollout.tick_seconds)


if __name__ == "__main__":
    main()
