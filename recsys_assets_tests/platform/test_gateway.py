"""What a real Envoy does with our documents: split, stick, grow, copy, refuse, and fall back.

Here: claims about requests. Not here: starting and stopping the stack (`test_stack.py`).
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator

import polars as pl
import pytest

from recsys_assets import visitor_id
from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE
from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.platform.local.gateway import gateway_place
from recsys_assets.platform.local.store import Changes
from recsys_assets.tail import read_whole
from recsys_assets_tests.contracts.manifests import virtual_service
from recsys_assets_tests.platform.bucket_twin import bucket
from recsys_assets_tests.platform.homes import Client, Home, running_programs
from recsys_assets_tests.waiting import eventually

R7 = {"recsys-assets.dev/release-id": "r7"}


def versions(client: Client, users: list[str]) -> dict[str, str]:
    """Which version each user gets; everybody must get an answer."""
    got = {}
    for user in users:
        status, body = client.ask(user)
        assert status == 200, (user, body)
        got[user] = body["version"]
    return got


def pid_of(home: Home, version: str) -> int:
    name = next(n for n in running_programs(home.settings) if n.startswith(f"model-films-v{version}-"))
    pid = running_programs(home.settings)[name].pid
    assert pid is not None
    return pid


@pytest.mark.parametrize("weight", [1, 1_000, 5_000, 10_000])
def test_the_gateway_and_the_twin_in_python_agree_on_every_user(home: Home, client: Client, weight: int) -> None:
    status = home.route({"films-v2": weight, "films-v1": 10_000 - weight}, annotations=R7)
    assert (status.ready, dict(status.weights)) == (True, {"films-v2": weight, "films-v1": 10_000 - weight})
    users = [*(str(i) for i in range(300)), "a b", "a%20b", "0" * 256]
    expected = {user: "2" if bucket(user, "r7") < weight else "1" for user in users}
    assert versions(client, users) == expected


def test_growing_the_weight_moves_users_to_the_canary_only_and_each_sticks(home: Home, client: Client) -> None:
    users = [f"user-{i}" for i in range(400)]
    before: set[str] = set()
    for weight in (500, 1_000, 2_500, 5_000):
        home.route({"films-v2": weight, "films-v1": 10_000 - weight}, annotations=R7)
        first, again = versions(client, users), versions(client, users)
        assert first == again
        canary = {user for user, version in first.items() if version == "2"}
        assert before <= canary
        share, expected = len(canary) / len(users), weight / 10_000
        # Four deviations of a binomial share.
        assert abs(share - expected) < 4 * (expected * (1 - expected) / len(users)) ** 0.5
        before = canary


def test_a_client_cannot_choose_its_variant_bucket_or_request_id(home: Home, client: Client) -> None:
    home.route({"films-v2": 5_000, "films-v1": 5_000}, annotations=R7)
    stable = next(str(i) for i in range(99) if bucket(str(i), "r7") >= 5_000)
    forged = {"x_recsys_variant": "canary", "x_recsys_bucket": "0", "x_request_id": "mine"}
    status, body = client.ask(stable, **forged)
    assert (status, body["version"], body["variant"]) == (200, "1", "stable")
    assert client.headers["x-request-id"] not in {None, "mine"}


def test_a_request_without_a_visitor_is_refused_with_the_reason(home: Home, client: Client) -> None:
    home.route({"films-v1": 10_000})
    for user in (None, ""):
        status, body = client.ask(user)
        assert status == 400
        assert body["error"] == visitor_id.WHY_NOT


def test_an_unknown_path_and_a_too_large_body_are_refused(home: Home, client: Client) -> None:
    home.route({"films-v1": 10_000})
    assert client.ask("1", path="/v1/models/filmsy:predict")[0] == 404
    assert client.ask("1", body=b"x" * (2 << 20))[0] == 413


def test_every_request_is_copied_to_the_shadow_exactly_once(home: Home, client: Client) -> None:
    home.route({"films-v1": 10_000}, shadow="films-v3")
    before = len(home.answered("3"))
    asked = set()
    for i in range(100):
        assert client.ask(str(i))[1]["version"] == "1"
        asked.add(client.headers["x-request-id"])
    copies = eventually(lambda: len(home.answered("3")) >= before + 100 and home.answered("3")[before:])
    assert len(copies) == 100
    assert {request for _, request in copies} == asked
    assert all(host.split(":")[0].endswith("-shadow") for host, _ in copies)


def test_no_request_is_dropped_over_twenty_weight_changes(home: Home) -> None:
    home.route({"films-v2": 0, "films-v1": 10_000}, annotations=R7)
    done, statuses = threading.Event(), []

    def load(first: int) -> None:
        asking = home.client()
        for i in itertools.count(first):
            if done.is_set():
                break
            statuses.append(asking.ask(str(i))[0])
        asking.close()

    askers = [threading.Thread(target=load, args=(n * 10_000,)) for n in range(2)]
    for asker in askers:
        asker.start()
    for weight in range(500, 10_500, 500):
        home.route({"films-v2": weight, "films-v1": 10_000 - weight}, annotations=R7)
    eventually(lambda: len(statuses) > 200)
    done.set()
    for asker in askers:
        asker.join()
    assert set(statuses) == {200}


def test_a_service_that_is_not_ready_gets_no_weight_until_it_is(home: Home, client: Client) -> None:
    home.route({"films-v2": 10_000, "films-v1": 0}, annotations=R7)
    home.mode("2", "unready")
    try:
        status = home.until_route(lambda s: s.weights["films-v2"] == 0)
        assert not status.ready
        assert "canary films-v2 is not ready" in status.reason
        assert "503" in status.reason
        assert set(versions(client, [str(i) for i in range(50)]).values()) == {"1"}
    finally:
        home.mode("2", "")
    home.until_route(lambda s: s.ready and s.weights["films-v2"] == 10_000)


def test_a_canarys_own_errors_are_not_hidden(home: Home, client: Client) -> None:
    home.route({"films-v2": 10_000, "films-v1": 0}, annotations=R7)
    # Envoy checks for itself, and may take half a second longer to see that the canary is well again.
    eventually(lambda: client.ask("1")[1]["version"] == "2")
    home.mode("2", "failing")
    try:
        assert {client.ask(str(i))[0] for i in range(20)} == {500}
    finally:
        home.mode("2", "")


def test_a_killed_canary_costs_no_request_and_is_healed(home: Home, client: Client) -> None:
    home.route({"films-v2": 5_000, "films-v1": 5_000}, annotations=R7)
    killed = pid_of(home, "2")
    os.kill(killed, 9)
    for i in range(200):
        assert client.ask(str(i))[0] == 200
    canary = next(str(i) for i in range(99) if bucket(str(i), "r7") < 5_000)

    def healed() -> bool:
        status, body = client.ask(canary)
        assert status == 200
        return body["version"] == "2" and body["pid"] != killed

    eventually(healed)
    home.until_route(lambda s: s.ready)


def test_a_cluster_that_no_route_names_stays_for_requests_under_way(home: Home) -> None:
    home.route({"films-v2": 5_000, "films-v1": 5_000}, annotations=R7)
    home.route({"films-v1": 10_000})
    cds = json.loads(gateway_place(home.settings).file("cds").read_text())
    assert "films-v2|films-v1" in {cluster["name"] for cluster in cds["resources"]}


def test_a_stable_that_is_gone_is_said(home: Home, client: Client) -> None:
    status = home.route({"films-v9": 10_000})
    assert (status.ready, status.reason) == (False, "stable films-v9 is absent")
    code, body = client.ask("1")
    assert (code, body["error"]) == (503, "stable films-v9 is absent")


def test_a_server_of_the_wrong_version_never_gets_ready(home: Home) -> None:
    manifest = home.store.get(INFERENCE_SERVICE, "films-v3")
    assert manifest is not None
    manifest["metadata"] |= {"name": "films-v4", "labels": {"model": "films", "model_version": "4"}}
    home.store.apply(manifest, expected=ANY)
    status = home.until_service("4", lambda s: "versions" in s.reason)
    assert not status.ready
    assert status.reason == "/v2/models/films says versions ['3'], the manifest says 4"
    home.store.delete(INFERENCE_SERVICE, "films-v4")
    eventually(lambda: not any("films-v4" in name for name in running_programs(home.settings)))


def test_a_server_that_cannot_start_says_its_last_words(home: Home) -> None:
    manifest = home.store.get(INFERENCE_SERVICE, "films-v3")
    assert manifest is not None
    manifest["metadata"]["name"] = "films-v5"
    manifest["spec"]["predictor"]["containers"][0]["args"] = ["-c", "raise SystemExit('the bundle is torn')"]
    home.store.apply(manifest, expected=ANY)
    status = home.until_service("5", lambda s: "the bundle is torn" in s.reason)
    assert not status.ready
    home.store.delete(INFERENCE_SERVICE, "films-v5")
    eventually(lambda: not any("films-v5" in name for name in running_programs(home.settings)))


def test_a_changed_spec_is_rolled_out_beside_the_old_one_without_a_dropped_request(home: Home, client: Client) -> None:
    home.route({"films-v1": 10_000})
    before = pid_of(home, "1")
    manifest = home.store.get(INFERENCE_SERVICE, "films-v1")
    assert manifest is not None
    manifest["spec"]["predictor"]["containers"][0]["env"] = [{"name": "GENERATION", "value": "2 % of $(PORT)"}]
    home.store.apply(manifest, expected=manifest["metadata"]["resourceVersion"])

    def replaced() -> bool:
        status, body = client.ask("1")
        assert status == 200
        return body["pid"] != before

    eventually(replaced)
    eventually(lambda: sum(n.startswith("model-films-v1-") for n in running_programs(home.settings)) == 1)
    assert home.until_service("1", lambda s: s.ready).generation == 2


def test_the_access_log_has_one_row_for_each_answer(home: Home, client: Client) -> None:
    home.route({"films-v2": 5_000, "films-v1": 5_000}, annotations=R7)
    asked: dict[str, str] = {}
    for i in range(40):
        status, body = client.ask(f"logged-{i}")
        assert status == 200
        asked[client.headers["x-request-id"]] = body["version"]

    def rows() -> pl.DataFrame:
        frame = read_whole(home.settings.path("logs", "gateway"), GATEWAY_LOG)
        return frame.filter(frame["request_id"].is_in(list(asked)))

    eventually(lambda: rows().height >= 40)
    found = rows()
    assert dict(found.select("request_id", "model_version").iter_rows()) == asked
    arms = set(found.select("variant", "cluster", "model_version", "status", "rung").iter_rows())
    assert arms == {("canary", "films-v2", "2", 200, "full"), ("stable", "films-v1", "1", 200, "full")}
    assert found["duration_ms"].min() > 0
    assert found["visitor_id"].str.starts_with("logged-").all()


@pytest.fixture
def changes(home: Home) -> Iterator[Changes]:
    watching = Changes(home.store.path)
    yield watching
    watching.close()


def test_a_settled_platform_writes_nothing(home: Home, changes: Changes) -> None:
    home.route({"films-v1": 10_000})
    home.until_route(lambda s: s.ready)
    file = home.settings.path("platform", "envoy", "rds.json")
    written = file.stat().st_mtime_ns
    home.store.apply(virtual_service({"films-v1": 10_000}), expected=ANY)

    def quiet_for_a_while() -> bool:
        changes.seen_one()
        return not threading.Event().wait(1.5) and not changes.seen_one()

    # What earlier tests stirred may still come to rest; a platform that never rests does not get there.
    eventually(quiet_for_a_while)
    assert file.stat().st_mtime_ns == written
