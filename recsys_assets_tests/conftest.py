"""What every room's tests may use: settings over a folder of the test's own, with ports nobody else has.

Here: `settings`, `free_ports`, the order of the folders, and a time zone that is not UTC. Not here: data, which each
test writes out.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck

from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings
from recsys_assets_tests.stores.fixtures import (  # noqa: F401 - fixtures of every room
    bucket,
    database,
    mlflow_server,
    postgres_server,
    s3_server,
    valkey_server,
)
from recsys_assets_tests.waiting import HANG_SECONDS

# Every test, and every process that it starts, is where no midnight is UTC's and one does not exist (10 March 2024):
# whatever takes a moment for local time gives a wrong answer somewhere.
os.environ["TZ"] = "America/Havana"
time.tzset()

# Children of a suite in the background of a shell would ignore the interrupts that tests send them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Limits are for hangs: how fast a machine draws examples says nothing about the code.
hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("any machine")
JOURNEYS = Path(__file__).parent / "journeys"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The journeys come first: one worker takes all of them (workers.py), and none is left for the end."""
    items.sort(key=lambda item: JOURNEYS not in item.path.parents)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """A scheduler of our own where `--dist loadfile` is asked for. Without xdist nobody calls this."""
    if config.getvalue("dist") != "loadfile":
        return None
    from recsys_assets_tests.workers import LoadFileOrJourneys

    return LoadFileOrJourneys(config, log)


def free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held until the last is found, so none comes twice."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The packaged MovieLens settings with their home below tmp_path and free ports."""
    for name in ("RECSYS_HOME", "RECSYS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    loaded = load_settings(home=tmp_path / "home", config=PACKAGED_CONFIG)
    names = ("gateway_port", "gateway_admin_port", "collector_port", "mlflow_port", "dagster_port", "model_port_first")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    limits = {"model_port_last": ports["model_port_first"] + 20, "ready_timeout_seconds": HANG_SECONDS}
    serving = loaded.serving.model_copy(update={**ports, **limits})
    return loaded.model_copy(update={"serving": serving})
