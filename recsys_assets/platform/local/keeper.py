"""The keeper: sees that there is a supervisor, and that what was adopted from a killed one is replaced when it ends.

Here: one look, and the process that repeats it. Not here: how a supervisor is started (`stack.py`).
Supervisor keeps the keeper, the keeper keeps supervisor; the reconciler looks too, so that both may be killed at once.
Run it as `python -m recsys_assets.platform.local.keeper`; supervisor does.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Final

from recsys_assets.platform.interface import Unavailable
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.locks import only_one
from recsys_assets.platform.local.supervisor import Supervisor
from recsys_assets.program_log import start_logging
from recsys_assets.settings import Settings, load_settings

LOOK_SECONDS: Final = 0.5
log = logging.getLogger("keeper")


def look(settings: Settings, *, orphaned: bool = False) -> bool:
    """Look once. True when a supervisor had to be brought back: it starts a successor of whoever looked.

    `orphaned`: the supervisor that started us is no more. Another may run already, but perhaps who brought it back was
    killed before it ran everything.
    """
    if orphaned or not Supervisor(settings).is_running():
        return stack.revive(settings)
    stack.replace_adopted(settings)
    return False


def main() -> None:
    start_logging()
    settings = load_settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with only_one(settings.path("platform", "keeper.lock")):
        told, parent = "", os.getppid()
        while not stop.wait(LOOK_SECONDS):
            try:
                if look(settings, orphaned=os.getppid() != parent):
                    return
                told = ""
            except (Unavailable, OSError) as problem:
                if str(problem) != told:
                    log.warning("%s", problem)
                    told = str(problem)


if __name__ == "__main__":
    main()
