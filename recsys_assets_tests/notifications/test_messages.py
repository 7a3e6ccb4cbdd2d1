"""What is told of which row, and how it is signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.notifications.messages import TOLD, cloud_event
from recsys_assets.notifications.receivers import SecretUnusable, receivers
from recsys_assets.notifications.signature import read_secret, sign
from recsys_assets.rollout.ledger import Event
from recsys_assets.settings import ConfigError, Settings, load_settings
from recsys_assets_tests.rollout.build import T0

OPENING = {"version": "2", "digest": "d2", "champion": "1"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def message(kind: str, **body: Any) -> dict[str, Any] | None:
    row = Event(7, T0, "rel-2", kind, "guard", "rel-2/4", {"reason": "3 % errors"} | body)
    found = cloud_event(row, OPENING, model_name="recommender", ui_url="http://ui")
    return None if found is None else json.loads(found)


@pytest.mark.parametrize("kind", sorted(TOLD))
def test_every_told_row_is_a_cloud_event_of_version_one(kind: str) -> None:
    told = message(kind)
    assert told is not None
    assert {k: told[k] for k in told if k != "data"} == {
        "specversion": "1.0",
        "id": "rel-2/4",
        "source": "/recsys-assets/recommender",
        "type": f"recsys_assets.release.{TOLD[kind]}",
        "subject": "rel-2",
        "time": "2026-01-01T00:00:00+00:00",
        "datacontenttype": "application/json",
    }
    data = told["data"]
    assert (data["release"], data["version"], data["digest"], data["champion"]) == ("rel-2", "2", "d2", "1")
    assert (data["by"], data["why"]) == ("guard", "3 % errors")
    assert data["links"]["canary"] == "http://ui/assets/canary"


@pytest.mark.parametrize("kind", ["opened", "shadow", "canary", "baking", "waiting", "settled", "audience", "approved"])
def test_what_is_no_news_for_people_is_not_told(kind: str) -> None:
    assert message(kind) is None


def test_what_waits_for_a_person_says_so_and_what_to_type() -> None:
    asked, frozen, promoted = message("approval_asked"), message("frozen"), message("champion")
    assert asked is not None
    assert frozen is not None
    assert promoted is not None
    assert [m["data"]["needs_a_person"] for m in (asked, frozen, promoted)] == [True, True, False]
    assert "recsys-assets approve rel-2 --why '...'" in asked["data"]["commands"]
    assert "recsys-assets rollback rel-2 --why '...'" in frozen["data"]["commands"]
    assert promoted["data"]["commands"] == ["recsys-assets show rel-2"]


def test_the_link_of_a_question_opens_the_job_with_its_config_but_for_the_name() -> None:
    asked = message("approval_asked")
    assert asked
    link = urlsplit(asked["data"]["links"]["launchpad"])
    assert link.path == "/locations/recsys_assets.definitions/jobs/approve_release/playground/setup"
    config = yaml.safe_load(parse_qs(link.query)["config"][0])
    assert config == {"ops": {"approve_it": {"config": {"release_id": "rel-2", "why": "", "who": None}}}}


@pytest.mark.parametrize(
    ("kind", "reason", "line"),
    [
        ("rolled_back", "3 % errors", "rel-2: version 2 was rolled back. guard: 3 % errors"),
        ("rolled_back", "guard: 3 % errors", "rel-2: version 2 was rolled back. guard: 3 % errors"),
        ("approval_asked", "waits for a person's approval", "rel-2: version 2 waits for a person's approval (guard)"),
    ],
)
def test_one_line_says_it_all_and_nothing_twice(kind: str, reason: str, line: str) -> None:
    told = message(kind, reason=reason)
    assert told is not None
    assert told["data"]["summary"] == line


def test_verdicts_are_summed_up() -> None:
    verdict = {"check": "c", "outcome": "FAIL", "reason": "r", "model_version": "2", "measurements": [{"name": "x"}]}
    told = message("rolled_back", verdicts=[verdict])
    assert told
    assert told["data"]["verdicts"] == [{"check": "c", "outcome": "FAIL", "reason": "r"}]


def test_the_signature_is_that_of_the_standards_published_example() -> None:
    # From the test suite of Standard Webhooks' own libraries.
    signed = sign(
        read_secret(SECRET),
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_is_read_back(secret: bytes) -> None:
    assert read_secret(f" whsec_{base64.b64encode(secret).decode()}\n") == secret


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "secret", "whsec_!!!", "whsec_" + "QUFB" * 7, "whsec_" + base64.b64encode(b"x" * 65).decode()],
)
def test_a_secret_that_is_none_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        read_secret(text)
    assert not text or text not in str(refused.value)


def configured(tmp_path: Path, *webhooks: dict[str, Any]) -> Settings:
    config = yaml.safe_load((Path(__file__).parents[2] / "recsys_assets" / "movielens.yaml").read_text())
    path = tmp_path / "recsys.yaml"
    path.write_text(yaml.safe_dump(config | {"notifications": {"webhooks": list(webhooks)}}))
    return load_settings(home=tmp_path / "home", config=path)


@pytest.mark.parametrize(
    ("webhook", "why_not"),
    [
        ({"url": "ftp://h/x"}, "must be an address that begins with http:// or https://"),
        ({"url": "/hook"}, "must be an address that begins with http:// or https://"),
        ({"url": "http://"}, "must be an address that begins with http:// or https://"),
        ({"url": "http://h/\nx"}, "must be an address that begins with http:// or https://"),
        ({"url": "http://ann:pw@h/"}, "must not hold a name or a password"),
        ({"url": "http://h:99999/"}, "Port out of range"),
        ({"url": "http://h/", "events": ["opened"]}, "notifications.webhooks.0.events.0"),
        ({"url": "http://h/", "events": []}, "notifications.webhooks.0.events"),
        ({"url": "http://h/", "timeout_seconds": 0}, "notifications.webhooks.0.timeout_seconds"),
        ({"url": "http://h/", "timeout_seconds": 61}, "notifications.webhooks.0.timeout_seconds"),
        ({"url": "http://h/", "secret": "x"}, "notifications.webhooks.0.secret"),
        ({}, "notifications.webhooks.0.url"),
    ],
)
def test_a_broken_webhook_is_an_error_at_the_start_with_its_place(
    tmp_path: Path, webhook: dict[str, Any], why_not: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, webhook)
    assert why_not in str(refused.value)


def test_one_address_stands_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a url stands twice"):
        configured(tmp_path, {"url": "http://h/"}, {"url": "http://h/", "events": ["held"]})


def test_a_webhooks_name_tells_neither_path_nor_query(tmp_path: Path) -> None:
    (receiver,) = receivers(configured(tmp_path, {"url": "https://hooks.example:8443/T0/B1?token=abc"}))
    assert receiver.name == f"https://hooks.example:8443 ({receiver.id})"
    assert len(receiver.events) == 8


def test_unusable_secrets_are_all_named_and_never_told(tmp_path: Path) -> None:
    for name, text, mode in (("open", SECRET, 0o644), ("bad", "hunter2", 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    hooks = [{"url": f"http://h/{name}", "secret_file": name} for name in ("open", "bad", "missing")]
    with pytest.raises(ConfigError) as refused:
        receivers(configured(tmp_path, *hooks))
    told = str(refused.value)
    named = [line.split("notifications.")[1].split("/")[0] for line in told.splitlines()[1:]]
    assert named == [f"webhooks.{n}.secret_file: " for n in range(3)]
    for word in ("may be read by others", "must begin with whsec_", "cannot be read: FileNotFoundError"):
        assert word in told
    for secret in (SECRET, "hunter2"):
        assert secret not in told


def test_a_secret_is_read_anew_for_each_message(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    (receiver,) = receivers(configured(tmp_path, {"url": "http://h/", "secret_file": "secret"}))
    other = "whsec_" + base64.b64encode(b"n" * 24).decode()
    assert receiver.secret() == read_secret(SECRET)
    file.write_text(other)
    assert receiver.secret() == b"n" * 24
    file.unlink()
    with pytest.raises(SecretUnusable):
        receiver.secret()
