"""The notifier in the stack: it runs where somebody is to be told, comes back when it is killed, and ends with it."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from recsys_assets.platform.local import stack
from recsys_assets.platform.local.programs import NOTIFIER
from recsys_assets.processes import start_everything
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.settings import ConfigError, Settings, load_settings
from recsys_assets_tests.notifications.receiver import Receiver, receiving
from recsys_assets_tests.notifications.test_delivery import release
from recsys_assets_tests.platform.homes import make_settings, running_programs
from recsys_assets_tests.waiting import eventually


def with_webhook(settings: Settings, **webhook: str) -> Settings:
    raw = yaml.safe_load(settings.config_file.read_text(encoding="utf-8"))
    settings.config_file.write_text(yaml.safe_dump(raw | {"notifications": {"webhooks": [webhook]}}))
    return load_settings(home=settings.home, config=settings.config_file)


def test_without_a_webhook_no_notifier_is_started(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "h")
    try:
        stack.start(settings, (NOTIFIER,))
        assert running_programs(settings) == {}
    finally:
        stack.stop(settings)


def test_the_notifier_tells_after_a_kill_what_happened_meanwhile(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        settings = with_webhook(make_settings(tmp_path / "h"), url=there.url)
        ledger = Ledger(settings.path("ledger.db"))
        try:
            stack.start(settings, (NOTIFIER,))
            pid = running_programs(settings)[NOTIFIER].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            release(ledger, "rolled_back", at=datetime.now(UTC))
            eventually(lambda: there.ids() == ["rel-2/1"], what="the news")
            assert running_programs(settings)[NOTIFIER].pid != pid
        finally:
            stack.stop(settings)


def test_a_secret_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    settings = with_webhook(make_settings(tmp_path / "h"), url="http://127.0.0.1:9/", secret_file="nowhere")
    with pytest.raises(ConfigError, match=r"notifications\.webhooks\.0\.secret_file: .*nowhere cannot be read"):
        list(start_everything(settings))
    assert not settings.home.exists()
