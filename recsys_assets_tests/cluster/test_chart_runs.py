"""Our chart on a node with real containers: everything comes up, takes requests and feedback, and survives kills.

Here: the parts that the chart itself installs, from our image, driven by a real istiod. Not here: a release
(test_story.py).
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.processes import poll
from image.build import archive, image_name
from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets_tests.cluster.house import Around
from recsys_assets_tests.cluster.installed import Installed

pytestmark = pytest.mark.cluster
PARTS = ("recsys-gateway", "recsys-guard", "recsys-collector", "recsys-notifier", "recsys-mlflow")
SECONDS = 300.0


def told(installed: Installed) -> str:
    """Why pods are not ready, for whoever reads a failure."""
    states = [
        (pod["metadata"]["name"], container["name"], container.get("state"), container.get("lastState"))
        for pod in installed.get("", "pods")["items"]
        for container in pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
        if not container.get("ready")
    ]
    return json.dumps(states, indent=1, default=str)


def test_everything_that_the_chart_installs_becomes_available(installed: Installed) -> None:
    started = time.monotonic()
    try:
        installed.wait_available(*PARTS)
    except Exception:
        print(told(installed))  # noqa: T201
        raise
    print(f"available after {time.monotonic() - started:.1f} s")  # noqa: T201
    for pod in installed.get("", "pods")["items"]:
        restarts = {each["name"]: each["restartCount"] for each in pod["status"]["containerStatuses"]}
        assert set(restarts.values()) == {0}, (pod["metadata"]["name"], restarts)


def test_the_gateway_refuses_what_no_route_takes_in_the_words_of_the_local_one(installed: Installed) -> None:
    answer = httpx.get(f"{installed.gateway}/v1/models/nobody:predict", trust_env=False)
    assert answer.status_code == 404
    assert answer.json().keys() == {"error", "request_id"}
    assert answer.headers["server"] == "recsys-gateway"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_a_request_that_is_too_large_is_refused_at_the_gateway(installed: Installed, around: Around) -> None:
    headers = {"authorization": f"Bearer {around.token}"}
    answer = httpx.post(
        f"{installed.gateway}/v1/feedback", content=b"x" * (1 << 20 | 1), headers=headers, trust_env=False
    )
    assert answer.status_code == 413


def feedback(installed: Installed, token: str, number: int) -> httpx.Response:
    event = {"event_id": f"e{number}", "request_id": "r1", "item_id": "2", "event_type": "click"}
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(f"{installed.gateway}/v1/feedback", json={"events": [event]}, headers=headers, trust_env=False)


def test_feedback_comes_through_the_gateway_and_stands_on_the_shared_volume(
    installed: Installed, around: Around
) -> None:
    assert feedback(installed, "wrong", 1).status_code == 401
    answer = feedback(installed, around.token, 1)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "duplicates": 0})
    kept = (installed.home / "logs" / "feedback" / "feedback.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["event_id"] for line in kept.splitlines()] == ["e1"]


def test_the_gateway_writes_the_local_log_into_a_folder_of_its_pod(installed: Installed) -> None:
    asked = httpx.get(f"{installed.gateway}/v1/models/nobody:predict", headers={"x-user-id": "7"}, trust_env=False)
    (pod,) = installed.pods("gateway")
    log = installed.home / "logs" / "gateway" / pod["metadata"]["name"] / "access.jsonl"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []

    mine = asked.headers["x-request-id"]
    poll("the line of the request", lambda: any(line["request_id"] == mine for line in lines()), SECONDS)
    (line,) = (line for line in lines() if line["request_id"] == mine)
    assert (line["visitor_id"], line["status"]) == ("7", 404)
    through = next(line for line in lines() if line["route"] == "feedback")
    assert "recsys-collector" in through["cluster"]
    assert GATEWAY_LOG.files(installed.home / "logs" / "gateway", None)


def test_the_guard_looks_and_says_so_on_the_shared_volume(installed: Installed) -> None:
    lock = installed.home / "platform" / "guarding.lock"
    poll("the guard's beat", lambda: lock.exists() and time.time() - lock.stat().st_mtime < 15, SECONDS)


def test_a_collector_that_is_killed_comes_back_and_knows_what_it_took(installed: Installed, around: Around) -> None:
    (pod,) = installed.pods("collector")
    path = f"/api/v1/namespaces/recsys/pods/{pod['metadata']['name']}?gracePeriodSeconds=0"
    installed.cluster.api.request("DELETE", path)

    def another() -> bool:
        names = [each["metadata"]["name"] for each in installed.pods("collector")]
        return len(names) == 1 and names[0] != pod["metadata"]["name"]

    poll("another collector", another, SECONDS)
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(feedback(installed, around.token, 1))
        return answers[-1].status_code == 200

    poll("its answer", answered, SECONDS)
    # Its first: by the second it would know the event from the first.
    assert answers[-1].json() == {"accepted": 0, "duplicates": 1}


def test_a_gateway_that_is_replaced_loses_no_request(installed: Installed) -> None:
    """As in an upgrade of the chart: the next one is ready first, and the old one is drained."""
    path = "/apis/apps/v1/namespaces/recsys/deployments/recsys-gateway"
    change = {"spec": {"template": {"metadata": {"annotations": {"test/replaced": "yes"}}}}}
    (before,) = installed.pods("gateway")
    statuses: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=installed.gateway, trust_env=False, timeout=30) as client:
            for number in itertools.count():
                if stop.wait(0.02):
                    return
                try:
                    statuses.append(client.get(f"/v1/models/nobody:predict?n={number}").status_code)
                except httpx.HTTPError as lost:
                    statuses.append(repr(lost))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        installed.cluster.api.request("PATCH", path, json.dumps(change), "application/merge-patch+json")
        old = before["metadata"]["name"]
        poll(
            "the old gateway being gone",
            lambda: old not in {pod["metadata"]["name"] for pod in installed.get("", "pods")["items"]},
            SECONDS,
        )
    finally:
        stop.set()
        asking.join()
    print(f"{len(statuses)} requests while the gateway was replaced")  # noqa: T201
    assert len(statuses) > 20
    assert set(statuses) == {404}


def test_nothing_of_the_chart_was_restarted_by_a_probe(installed: Installed) -> None:
    pods = [pod for name in ("guard", "notifier", "mlflow") for pod in installed.pods(name)]
    assert len(pods) == 3
    for pod in pods:
        assert all(each["restartCount"] == 0 for each in pod["status"]["containerStatuses"]), pod["metadata"]["name"]


def test_the_image_archive_is_the_one_that_the_chart_names(installed: Installed) -> None:
    (pod,) = installed.pods("guard")
    assert pod["spec"]["containers"][0]["image"].endswith(image_name())
    assert isinstance(archive(), Path)
