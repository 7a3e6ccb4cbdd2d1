"""The feedback collector process: what it acknowledges is on the disk, once.

Here: its two routes and its start. Not here: parsing (feedback_protocol.py), durability (feedback_log.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI, Request, Response

from recsys_assets.serving import feedback_protocol
from recsys_assets.serving.appendlog import AppendBusy
from recsys_assets.serving.feedback_log import FeedbackCorrupt, FeedbackLog, FeedbackUnavailable
from recsys_assets.serving.http import JSON, KEEP_ALIVE_SECONDS, add_error_answers, read_body
from recsys_assets.serving.protocol import dumps

EXIT_REFUSED = 3
FILE = "feedback.jsonl"


def build_app(log: FeedbackLog, *, now: Callable[[], datetime]) -> FastAPI:
    """The application over one open log."""
    app = FastAPI(title="feedback collector", docs_url=None, redoc_url=None, openapi_url=None)

    async def feedback(request: Request) -> Response:
        events = feedback_protocol.parse(await read_body(request))
        at = now()
        lines = [(event.event_id, feedback_protocol.feedback_line(event, at)) for event in events]
        try:
            receipt = await log.add(lines)
        except FeedbackUnavailable as unavailable:
            body = dumps({"error": f"nothing was acknowledged: {unavailable}", "faults": []})
            return Response(body, 503, headers={"retry-after": "1"}, media_type=JSON)
        return Response(dumps({"accepted": receipt.accepted, "duplicates": receipt.duplicates}), 200, media_type=JSON)

    async def health() -> Response:
        said = {"ready": log.broken is None, "events": len(log), "repaired_bytes": log.repaired_bytes}
        return Response(dumps(said | {"reason": log.broken}), 503 if log.broken else 200, media_type=JSON)

    app.add_api_route("/v1/feedback", feedback, methods=["POST"], response_model=None)
    for path in ("/health", "/v2/health/ready"):  # the second is where every server of ours tells it
        app.add_api_route(path, health, methods=["GET"], response_model=None)
    add_error_answers(app)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Exit code 3 says that the log cannot be taken over; one line of JSON on stderr says why."""
    import uvicorn

    parser = argparse.ArgumentParser("recsys_assets.serving.collector", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log-folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args(arguments)
    try:
        log = FeedbackLog(given.log_folder / FILE)
    except (AppendBusy, FeedbackCorrupt) as refused:
        sys.stderr.write(json.dumps({"refused": type(refused).__name__, "reason": str(refused)}) + "\n")
        return EXIT_REFUSED
    try:
        uvicorn.run(
            build_app(log, now=lambda: datetime.now(UTC)),
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


if __name__ == "__main__":
    raise SystemExit(main())
