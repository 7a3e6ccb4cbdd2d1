"""The feedback collector process: what it acknowledges is on the disk, once.

Here: its two routes and its start. Not here: who may come in (admission.py), parsing (feedback_protocol.py),
durability (feedback_log.py), the reports that it serves on one machine (report_pages.py).
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI, Request, Response

from recsys_assets.serving import feedback_protocol
from recsys_assets.serving.admission import Door, Refused, unavailable
from recsys_assets.serving.appendlog import AppendBusy
from recsys_assets.serving.bodies import JSON, read_body
from recsys_assets.serving.feedback_log import FeedbackCorrupt, FeedbackLog, FeedbackUnavailable
from recsys_assets.serving.http import KEEP_ALIVE_SECONDS, add_error_answers
from recsys_assets.serving.protocol import dumps
from recsys_assets.serving.report_pages import PREFIX, report_pages
from recsys_assets.serving.tokens import ANONYMOUS, TokenGate, TokensBroken
from recsys_assets.settings import CollectorSettings

EXIT_REFUSED = 3
FILE = "feedback.jsonl"


class DoorOpen(Exception):  # noqa: N818
    """Anybody on the network could report anything."""


def build_app(log: FeedbackLog, gate: TokenGate, limits: CollectorSettings, *, now: Callable[[], datetime]) -> FastAPI:
    """The application over one open log."""
    app = FastAPI(title="feedback collector", docs_url=None, redoc_url=None, openapi_url=None)
    door = Door(gate, limits, clock=time.monotonic)

    async def feedback(request: Request) -> Response:
        client = door.client(request.headers.get("authorization"))
        with door.inside():
            door.charge(client, 1)  # for one that turns out to be malformed
            events = feedback_protocol.parse(await read_body(request, limits.max_body_bytes, labelled=True))
            door.charge(client, len(events) - 1)
            at, named = now(), None if client == ANONYMOUS else client
            lines = [(event.event_id, feedback_protocol.feedback_line(event, at, client=named)) for event in events]
            try:
                receipt = await log.add(lines)
            except FeedbackUnavailable as failed:
                raise unavailable(str(failed)) from None
        return Response(dumps({"accepted": receipt.accepted, "duplicates": receipt.duplicates}), 200, media_type=JSON)

    async def health() -> Response:
        await log.look_again()
        said = {"ready": log.failing is None, "events": len(log), "repaired_bytes": log.repaired_bytes}
        said |= {"pending_bytes": log.pending_bytes, "tokens": not gate.is_open}
        return Response(dumps(said | {"reason": log.failing}), 503 if log.failing else 200, media_type=JSON)

    app.add_api_route("/v1/feedback", feedback, methods=["POST"], response_model=None)
    for path in ("/health", "/v2/health/ready"):  # the second is where every server of ours tells it
        app.add_api_route(path, health, methods=["GET"], response_model=None)
    add_error_answers(app)
    app.add_exception_handler(Refused, _refused)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Response(dumps({"error": error.why, "faults": []}), error.status, headers=error.headers, media_type=JSON)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 3 says that it may not start; one line of JSON on stderr says why."""
    import uvicorn

    given = _parser().parse_args(arguments)
    limits = CollectorSettings.model_validate_json(given.limits)
    try:
        gate = TokenGate(given.tokens)
        _require_closed(given.host, gate)
        log = FeedbackLog(
            given.log_folder / FILE,
            segment_bytes=limits.segment_bytes,
            remembered_ids=limits.remembered_ids,
            max_pending_bytes=limits.max_pending_bytes,
        )
    except (AppendBusy, FeedbackCorrupt, TokensBroken, DoorOpen) as refused:
        sys.stderr.write(json.dumps({"refused": type(refused).__name__, "reason": str(refused)}) + "\n")
        return EXIT_REFUSED
    app = build_app(log, gate, limits, now=lambda: datetime.now(UTC))
    if given.reports is not None:
        app.mount(PREFIX, report_pages(given.reports, host=given.host))
    try:
        uvicorn.run(
            app,
            host=given.host,
            port=given.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
        )
    finally:
        log.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("recsys_assets.serving.collector", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log-folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--reports", type=Path, help="a folder of reports to show to people at this machine")
    parser.add_argument("--tokens", type=Path, help="the file of client tokens; without one nobody is asked")
    parser.add_argument("--limits", default="{}", help="the settings' section `collector` as JSON")
    return parser


def _require_closed(host: str, gate: TokenGate) -> None:
    if gate.is_open and not _is_loopback(host):
        raise DoorOpen(f"{host} is not loopback and no client has a token: `recsys-assets collector-token add NAME`")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    raise SystemExit(main())
