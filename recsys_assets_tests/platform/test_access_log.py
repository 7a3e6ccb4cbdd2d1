"""Reading the gateway's access log: whole, torn, from a point in time.

Here: literal lines. Not here: that a real gateway writes such lines (`test_gateway.py`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recsys_assets.columns import GATEWAY_REQUESTS
from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.tail import read_whole

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def line(request: str = "r1", *, at: datetime = NOON, **other: Any) -> str:
    """A canary's answer in 1.5 ms, unless said otherwise."""
    whole = {
        "request_id": request,
        "served_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "visitor_id": "7",
        "variant": "canary",
        "cluster": "films-v2|films-v1",
        "service": "films-v2",
        "status": 200,
        "duration_us": 1500,
        "model_version": "2",
        "rung": "full",
        "path": "/v1/models/films:predict",
        "route": "films",
    }
    return json.dumps(whole | other) + "\n"


def write(folder: Path, *lines: str) -> Path:
    (folder / "access.jsonl").write_text("".join(lines))
    return folder


def test_a_missing_log_has_no_rows_and_the_right_columns(tmp_path: Path) -> None:
    frame = read_whole(tmp_path, GATEWAY_LOG)
    assert frame.is_empty()
    assert frame.schema == GATEWAY_REQUESTS


def test_a_line_becomes_a_row(tmp_path: Path) -> None:
    frame = read_whole(write(tmp_path, line()), GATEWAY_LOG)
    assert frame.schema == GATEWAY_REQUESTS
    assert frame.rows() == [("r1", NOON, "7", "canary", "films-v2", 200, 1.5, "2", "full")]


def test_the_cluster_is_who_answered_or_was_to_answer(tmp_path: Path) -> None:
    fell_over = line("a", service="films-v1", model_version="1")
    nobody = line("b", service=None, status=503, model_version=None, rung=None)
    frame = read_whole(write(tmp_path, fell_over, nobody), GATEWAY_LOG)
    assert frame["cluster"].to_list() == ["films-v1", "films-v2"]


def test_feedback_and_refused_clients_are_no_rows_but_failures_are(tmp_path: Path) -> None:
    lines = [line("a", route="feedback"), line("b", route="refused", status=400), line("c", status=500)]
    assert read_whole(write(tmp_path, *lines), GATEWAY_LOG)["request_id"].to_list() == ["c"]


def test_a_torn_last_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    torn = line("b")
    write(tmp_path, line("a"), torn[:40])
    assert read_whole(tmp_path, GATEWAY_LOG)["request_id"].to_list() == ["a"]
    write(tmp_path, line("a"), torn)
    assert read_whole(tmp_path, GATEWAY_LOG)["request_id"].to_list() == ["a", "b"]


def test_a_line_that_a_kill_broke_costs_only_itself(tmp_path: Path) -> None:
    lines = [line("a"), line("b")[:30] + line("c"), line("d")]
    assert read_whole(write(tmp_path, *lines), GATEWAY_LOG)["request_id"].to_list() == ["a", "d"]


def test_since_finds_the_same_rows_in_a_long_file_as_a_filter_does(tmp_path: Path) -> None:
    # Ten hours, a request each six seconds, each a little longer than the one before: 2 MB.
    times = [NOON + timedelta(seconds=6 * i) for i in range(6_000)]
    write(tmp_path, *[line(str(i), at=at) for i, at in enumerate(times)])
    for since in (NOON, NOON + timedelta(hours=5, seconds=1), times[-1], times[-1] + timedelta(seconds=1)):
        expected = [str(i) for i, at in enumerate(times) if at >= since]
        assert read_whole(tmp_path, GATEWAY_LOG, since)["request_id"].to_list() == expected


def test_the_name_of_istios_cluster_tells_the_service(tmp_path: Path) -> None:
    istio = line(cluster="outbound|80||films-v2-predictor.recsys.svc.cluster.local", service=None)
    assert read_whole(write(tmp_path, istio), GATEWAY_LOG)["cluster"].to_list() == ["films-v2"]


def test_the_logs_of_several_gateway_pods_are_one(tmp_path: Path) -> None:
    """Each pod has a folder: here one has moved a log aside, and one has gone for good."""
    for pod, name, request in (("a", "access-1.jsonl", "r1"), ("a", "access.jsonl", "r2"), ("b", "access.jsonl", "r3")):
        (tmp_path / pod).mkdir(exist_ok=True)
        (tmp_path / pod / name).write_text(line(request))
    assert sorted(read_whole(tmp_path, GATEWAY_LOG)["request_id"]) == ["r1", "r2", "r3"]


def test_a_gateway_that_is_asked_what_it_does_served_nobody(tmp_path: Path) -> None:
    assert read_whole(write(tmp_path, line(route="recsys-route")), GATEWAY_LOG).is_empty()


def test_questions_about_a_model_are_no_rows_even_where_the_model_is_called_about(tmp_path: Path) -> None:
    asked = [line("a", route="recsys.about"), line("b", route="recsys-about"), line("c", route="about")]
    assert read_whole(write(tmp_path, *asked), GATEWAY_LOG)["request_id"].to_list() == ["c"]
