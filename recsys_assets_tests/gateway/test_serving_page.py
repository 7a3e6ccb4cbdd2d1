"""docs/serving.md, run: each of its commands by bash, in its order, and each of its refusals.

Here: what the page says against a real gateway, whose model is called films instead of recommender. Not here: the
page's last part, on bundles (`serving/test_bundle_refusals.py`).
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recsys_assets_tests.gateway.house import INFER, PREDICT, Gateway, Reply, ask

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "serving.md").read_text(encoding="utf-8").partition("## Bundles")[0]
# A command begins with a dollar sign and ends where its quotes are closed and no backslash goes on.
COMMANDS = re.findall(r"^\$ ((?:[^'\n\\]|\\\n|'[^']*')+)$", PAGE, re.MULTILINE)
ANN = (b"x-user-id", b"ann")
JSON = (b"content-type", b"application/json")


def run(gateway: Gateway, command: str) -> str:
    here = command.replace("http://127.0.0.1:8080", gateway.url).replace("recommender", "films")
    here = here.replace("curl ", "curl --silent --noproxy '*' --fail-with-body ")
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", here], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, (here, ran.stdout, ran.stderr)
    return ran.stdout


def test_every_curl_of_the_page_is_found() -> None:
    assert len(COMMANDS) == PAGE.count("curl ") == 11


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works_as_printed(gateway: Gateway, command: str) -> None:
    said = run(gateway, command).partition("\n\n")
    body = json.loads(said[2] or said[0])
    if ":predict" in command:
        assert body["predictions"][0]["user_id"] == "196"
    elif "/infer" in command:
        assert body["id"] == "mine"
        assert [output["name"] for output in body["outputs"]] == ["item_id"]
    elif "feedback" in command:
        assert body == {"accepted": 1, "duplicates": 0}


def test_the_first_question_to_a_cluster_works_as_printed(gateway: Gateway) -> None:
    """Section 9 of docs/kubernetes.md, after its port-forward."""
    (command,) = re.findall(r"^(curl .*:predict)$", (DOCS / "kubernetes.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert json.loads(run(gateway, command))["predictions"][0]["user_id"] == "1"


def predict(gateway: Gateway, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    return gateway.send("POST", PREDICT, body, ANN, *headers)


def refusals(gateway: Gateway) -> dict[str, Reply]:
    event = {"event_id": "e", "request_id": "r", "item_id": "i", "event_type": "Click!"}
    events = json.dumps({"events": [event]}).encode()
    return {
        "k = 0": predict(gateway, ask(k=0)),
        "no instances": predict(gateway, b'{"instances": []}'),
        "not JSON": predict(gateway, b"{k"),
        "no x-user-id": gateway.send("POST", PREDICT, ask()),
        "GET": gateway.send("GET", PREDICT),
        "br": predict(gateway, ask(), (b"content-encoding", b"br")),
        "text/xml": predict(gateway, ask(), (b"content-type", b"text/xml")),
        "2 MiB": predict(gateway, b" " * (1 << 20 | 1)),
        "a version": gateway.send("POST", INFER.replace("/infer", "/versions/1/infer"), ask(), ANN),
        'event_type "Click!"': gateway.send("POST", "/v1/feedback", events, JSON),
        "another path": gateway.send("GET", "/nope"),
    }


def test_each_refusal_is_as_printed(gateway: Gateway) -> None:
    table = PAGE.partition("## What is refused")[2].split("```")[1]
    rows = re.findall(r"^(\S.*?) +(4\d\d) (\{\"error\":\"(?:[^\"\n]|\n +)*)", table, re.MULTILINE)
    printed: dict[str, tuple[int, Any]] = {
        label: (int(status), re.sub(r"\n +", " ", text.removeprefix('{"error":"')).removesuffix("...").rstrip(", "))
        for label, status, text in rows
    }
    found = refusals(gateway)
    assert printed.keys() == found.keys()
    for label, (status, text) in printed.items():
        assert found[label].status == status, label
        assert found[label].json()["error"].startswith(text.replace("recommender", "films")), label
