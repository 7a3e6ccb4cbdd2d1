"""Messages reach a real HTTP receiver at least once, whatever it does, and one dead receiver delays nobody else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
import yaml

from recsys_assets.notifications.delivery import LONGEST_WAIT, Route, collect, deliver, wait_after
from recsys_assets.notifications.outbox import Outbox
from recsys_assets.notifications.receivers import Receiver as Webhook
from recsys_assets.notifications.signature import read_secret, sign
from recsys_assets.notifications.standing import told
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.settings import PACKAGED_CONFIG, NotifiedEvent
from recsys_assets_tests.notifications.receiver import Receiver, Taken, receiving
from recsys_assets_tests.rollout.build import T0
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

DOCS = Path(__file__).parents[2] / "docs"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Clock:
    at: datetime = T0

    def __call__(self) -> datetime:
        return self.at


def release(ledger: Ledger, *kinds: str, name: str = "rel-2", at: datetime = T0) -> None:
    """Rows of one release; each further one of a kind has a key of its own."""
    for kind in ("opened", *kinds):
        number = len(ledger.events(name))
        body = {"version": "2", "digest": "d2", "champion": "1", "phase": "gated", "reason": "because", "weight_bp": 0}
        ledger.append(kind, release_id=name, actor="guard", at=at, key=f"{name}/{number}", body=body)


def route(tmp_path: Path, url: str, *, timeout: float = 5.0, secret: bool = False) -> tuple[Route, Clock]:
    clock, file = Clock(), tmp_path / "secret"
    if secret:
        file.write_text(SECRET)
        file.chmod(0o600)
    webhook = Webhook(url, frozenset(get_args(NotifiedEvent)), timeout, file if secret else None)
    ledger, outbox = Ledger(tmp_path / "ledger.db"), Outbox(tmp_path / "notifications.db")
    return Route(webhook, ledger, outbox, "recommender", "http://ui", clock), clock


def once(way: Route) -> None:
    collect(way)
    deliver(way)


def test_what_happened_is_told_once_each_and_in_order(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url)
        release(way.ledger, "shadow", "canary", "approval_asked", "paused", "resumed", "frozen", "champion")
        for _ in range(3):
            once(way)
    assert [t.event for t in there.taken] == ["approval_asked", "paused", "resumed", "frozen", "promoted"]
    assert {t.path for t in there.taken} == {"/hook?token=a-secret"}
    standing = way.outbox.standing(way.receiver.id)
    assert standing is not None
    assert (standing.delivered, standing.waiting, standing.position) == (5, 0, way.ledger.last_seq())


def test_a_webhook_hears_only_of_what_it_asked_for(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url)
        way = replace(way, receiver=replace(way.receiver, events=frozenset({"promoted"})))
        release(way.ledger, "paused", "champion")
        once(way)
    assert [t.event for t in there.taken] == ["promoted"]


def test_what_is_sent_is_signed_with_its_id_and_its_time(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, clock = route(tmp_path, there.url, secret=True)
        release(way.ledger, "champion")
        once(way)
    (taken,) = there.taken
    assert taken.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert taken.headers["webhook-id"] == taken.message["id"] == "rel-2/1"
    timestamp = int(taken.headers["webhook-timestamp"])
    assert timestamp == int(clock.at.timestamp())
    expected = sign(read_secret(SECRET), message_id="rel-2/1", timestamp=timestamp, body=taken.body)
    assert taken.headers["webhook-signature"] == expected


def test_the_receivers_snippet_in_the_docs_takes_it_and_refuses_what_was_changed(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url, secret=True)
        way = replace(way, clock=lambda: datetime.now(UTC))
        release(way.ledger, "champion", at=datetime.now(UTC))
        once(way)
    (taken,) = there.taken
    snippet = (DOCS / "notifications.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Callable[..., str]] = {}
    exec(snippet, names)
    verify = names["verify"]
    assert verify(taken.headers, taken.body, SECRET) == "rel-2/1"
    old = taken.headers | {"webhook-timestamp": str(int(time.time()) - 301)}
    for headers, body in ((taken.headers, taken.body + b" "), (old, taken.body)):
        with pytest.raises(ValueError, match=r"not signed|too old"):
            verify(headers, body, SECRET)


def test_without_a_secret_there_is_no_signature(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url)
        release(way.ledger, "champion")
        once(way)
    assert "webhook-signature" not in there.taken[0].headers


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 429, 500, 503])
def test_an_answer_that_is_no_yes_is_tried_again_with_the_same_bytes(tmp_path: Path, status: int) -> None:
    with receiving(Receiver(behave=lambda taken: status)) as there:
        way, clock = route(tmp_path, there.url)
        release(way.ledger, "champion")
        once(way)
        once(way)
        assert (len(there.refused), there.taken) == (1, [])
        clock.at += timedelta(seconds=1)
        there.behave = lambda taken: 204
        once(way)
    assert [t.body for t in there.taken] == [t.body for t in there.refused]


def test_a_message_that_is_never_taken_does_not_hold_the_others_up(tmp_path: Path) -> None:
    with receiving(Receiver(behave=lambda taken: 400 if taken.event == "paused" else 200)) as there:
        way, clock = route(tmp_path, there.url)
        release(way.ledger, "paused", "resumed")
        once(way)
        release(way.ledger, "champion", name="rel-3")
        clock.at += timedelta(seconds=1)
        once(way)
    assert [t.event for t in there.taken] == ["resumed", "promoted"]
    assert [t.event for t in there.refused] == ["paused", "paused"]


@pytest.mark.parametrize("how", ["hang", "drip", "reset"])
def test_a_receiver_that_never_answers_is_left_after_its_time_and_asked_again(tmp_path: Path, how: str) -> None:
    with receiving(Receiver(behave=lambda taken: how)) as there:
        way, clock = route(tmp_path, there.url, timeout=0.3)
        release(way.ledger, "paused", "resumed")
        once(way)  # returns though nobody answers
        assert len(there.refused) == 1, "where nobody answers, one message is tried, not each of them"
        clock.at += timedelta(seconds=1)
        there.behave = lambda taken: 200
        once(way)
    assert [t.event for t in there.taken] == ["paused", "resumed"]


def test_a_receiver_that_was_down_gets_everything_when_it_comes_back(tmp_path: Path) -> None:
    there = Receiver()
    with receiving(there):
        way, clock = route(tmp_path, there.url)
    for name in ("rel-2", "rel-3", "rel-4"):
        release(way.ledger, "champion", name=name)
        once(way)
    standing = way.outbox.standing(way.receiver.id)
    assert standing is not None
    assert (standing.waiting, standing.attempts) == (3, 1)
    assert "3 WAITING (tried 1 times, last: ConnectionRefusedError" in told(standing, standing.position)
    with receiving(there):
        once(way)
        assert there.taken == []
        clock.at += timedelta(seconds=1)
        once(way)
    assert there.ids() == ["rel-2/1", "rel-3/1", "rel-4/1"]


def test_waits_grow_to_five_minutes_and_nothing_is_given_up(tmp_path: Path) -> None:
    assert [wait_after(n).total_seconds() for n in (1, 2, 3, 9, 10, 10_000)] == [1, 2, 4, 256, 300, 300]
    with receiving(Receiver(behave=lambda taken: 500)) as there:
        way, clock = route(tmp_path, there.url)
        release(way.ledger, "champion")
        for _ in range(30):
            once(way)
            clock.at += LONGEST_WAIT
        assert len(there.refused) == 30
        there.behave = lambda taken: 200
        once(way)
    assert there.ids() == ["rel-2/1"]


def test_a_clock_that_was_set_back_delays_nothing_for_long(tmp_path: Path) -> None:
    with receiving(Receiver(behave=lambda taken: 500)) as there:
        way, clock = route(tmp_path, there.url)
        release(way.ledger, "champion", at=T0 - timedelta(days=365))
        clock.at -= timedelta(days=365)
        collect(way)
        clock.at = T0
        deliver(way)
        there.behave = lambda taken: 200
        clock.at -= timedelta(days=365)
        once(way)
    assert there.ids() == ["rel-2/1"]


def test_a_secret_that_went_missing_stops_sending_and_is_said(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, clock = route(tmp_path, there.url, secret=True)
        release(way.ledger, "champion")
        (tmp_path / "secret").unlink()
        once(way)
        assert (there.taken, there.refused) == ([], [])
        standing = way.outbox.standing(way.receiver.id)
        assert standing is not None
        assert "cannot be read: FileNotFoundError" in standing.error
        (tmp_path / "secret").write_text(SECRET)
        (tmp_path / "secret").chmod(0o600)
        clock.at += timedelta(seconds=1)
        once(way)
    assert there.ids() == ["rel-2/1"]


def test_neither_secret_nor_path_of_the_address_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    there = Receiver(behave=lambda taken: 500)
    with receiving(there):
        way, clock = route(tmp_path, there.url, secret=True)
        release(way.ledger, "champion")
        once(way)
    clock.at += timedelta(seconds=5)
    once(way)
    assert "was not taken: HTTP 500" in caplog.text
    assert "was not taken: ConnectionRefusedError" in caplog.text
    for private in ("a-secret", "hook", SECRET, SECRET.removeprefix("whsec_")):
        assert private not in caplog.text


def test_a_new_webhook_hears_of_the_last_hour_and_not_of_years(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url)
        release(way.ledger, "champion", name="rel-old", at=T0 - timedelta(hours=2))
        release(way.ledger, "champion", name="rel-new", at=T0 - timedelta(minutes=59))
        once(way)
    assert there.ids() == ["rel-new/1"]


def test_a_ledger_that_was_begun_anew_is_told_from_its_beginning(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url)
        release(way.ledger, "paused", "champion")
        once(way)
        (tmp_path / "ledger.db").unlink()
        once(way)
        release(way.ledger, "champion", name="rel-9")
        once(way)
    assert there.ids()[-1] == "rel-9/1"


def test_a_crash_before_the_position_is_kept_tells_nothing_twice(tmp_path: Path) -> None:
    with receiving(Receiver()) as there:
        way, _ = route(tmp_path, there.url)
        release(way.ledger, "champion")
        once(way)
        way.outbox.put(way.receiver.id, [], position=0)
        once(way)
    assert there.ids() == ["rel-2/1"]


def test_standing_says_when_nobody_looks_after_the_notifications(tmp_path: Path) -> None:
    way, _ = route(tmp_path, "http://127.0.0.1:9/")
    assert "never looked after" in told(way.outbox.standing(way.receiver.id), 3)
    assert not (tmp_path / "notifications.db").exists()
    way.outbox.put(way.receiver.id, [], position=1)
    assert told(way.outbox.standing(way.receiver.id), 3) == (
        "0 taken, 2 ledger rows not looked at; does the notifier run?"
    )
    assert told(way.outbox.standing(way.receiver.id), 1) == "0 taken"


@contextmanager
def notifier(tmp_path: Path, *urls: str) -> Iterator[subprocess.Popen[bytes]]:
    """The real process, over a home of its own."""
    hooks = [{"url": url, "timeout_seconds": 1.0} for url in urls]
    config = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8")) | {"notifications": {"webhooks": hooks}}
    (tmp_path / "recsys.yaml").write_text(yaml.safe_dump(config))
    environment = os.environ | {"RECSYS_CONFIG": str(tmp_path / "recsys.yaml"), "RECSYS_HOME": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-m", "recsys_assets.notifications.notifier"], env=environment)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_killed_between_the_delivery_and_its_mark_it_tells_twice_with_one_id_and_loses_nothing(tmp_path: Path) -> None:
    release(ledger := Ledger(tmp_path / "ledger.db"), "paused", "champion", at=datetime.now(UTC))
    took, died = threading.Event(), threading.Event()

    def kill_me_now(taken: Taken) -> int:
        took.set()
        died.wait(HANG_SECONDS)
        return 200

    with receiving(Receiver(behave=kill_me_now)) as there:
        with notifier(tmp_path, there.url) as child:
            assert took.wait(HANG_SECONDS)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        died.set()
        eventually(lambda: there.ids() == ["rel-2/1"], what="the delivery that was never marked")
        there.behave = lambda taken: 200
        with notifier(tmp_path, there.url):
            eventually(lambda: len(there.taken) == 3, what="the same again, and the rest")
    assert there.ids() == ["rel-2/1", "rel-2/1", "rel-2/2"]
    assert there.taken[0].body == there.taken[1].body
    assert ledger.last_seq() == 3


def test_the_process_tells_everybody_though_one_receiver_hangs_and_ends_when_asked(tmp_path: Path) -> None:
    with (
        receiving(Receiver(behave=lambda taken: "hang")) as dead,
        receiving(Receiver()) as alive,
        notifier(tmp_path, dead.url, alive.url) as child,
    ):
        for name in ("rel-2", "rel-3"):
            release(Ledger(tmp_path / "ledger.db"), "rolled_back", name=name, at=datetime.now(UTC))
            eventually(lambda name=name: f"{name}/1" in alive.ids(), what=f"news of {name}")
        eventually(lambda: bool(dead.refused), what="the hanging receiver was asked")
        child.terminate()
        assert child.wait(HANG_SECONDS) == 0
    assert dead.taken == []


def test_a_broken_configuration_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    config = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    hook = {"url": "http://127.0.0.1:9/", "secret_file": "nowhere"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"notifications": {"webhooks": [hook]}}))
    done = subprocess.run(
        [sys.executable, "-m", "recsys_assets.notifications.notifier"],
        env=os.environ | {"RECSYS_CONFIG": str(tmp_path / "c.yaml"), "RECSYS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "notifications.webhooks.0.secret_file" in done.stderr
    assert "Traceback" not in done.stderr
