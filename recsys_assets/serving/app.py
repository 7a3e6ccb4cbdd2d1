"""The model server's HTTP: routes of both protocol versions, health, metrics, and one path for every answer.

Here: requests in, responses out. Not here: loading (server.py), shapes (protocol*.py), which rung answers (ladder.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from recsys_assets import visitor_id
from recsys_assets.recommender.profiles import UserProfile
from recsys_assets.serving import protocol_v1, protocol_v2
from recsys_assets.serving.bodies import JSON, read_body
from recsys_assets.serving.exposures import ExposureLog, exposure_line
from recsys_assets.serving.faults import Faults, stopped_moving
from recsys_assets.serving.http import Caller, add_error_answers, caller_of
from recsys_assets.serving.ladder import RUNGS, Answer, Ladder, Lookup, Question
from recsys_assets.serving.metadata import add_metadata, check_model
from recsys_assets.serving.metrics import CONTENT_TYPE, ServerMetrics
from recsys_assets.serving.online import OnlineLookups
from recsys_assets.serving.patience import Missed, Patience
from recsys_assets.serving.protocol import Ask, Malformed, Rendered, dumps, refuse

_RANKER_FLAGS: Final = {"slow": "ranker_slow", "unavailable": "ranker_failed", "paused": "ranker_paused"}
Render = Callable[[Sequence[Answer]], Rendered]
# What clients of another method are told.
_ALLOWED: Final = {"allow": "POST, OPTIONS"}


@dataclass(frozen=True)
class Served:
    """Everything that one server holds for its one model version."""

    name: str
    version: str
    service: str
    ladder: Ladder
    lookups: OnlineLookups
    ranker: Patience[Any]
    known_users: Sequence[str]
    exposures: ExposureLog
    faults: Faults
    metrics: ServerMetrics
    deadline_seconds: float
    now: Callable[[], datetime]


class Inference:
    """One answer: parse, look the users up, climb the ladder, render, note the exposure."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def v1(self, request: Request, name: str) -> Response:
        async def asked(caller: Caller) -> tuple[list[Ask], Render]:
            if protocol_v2.JSON_LENGTH in request.headers:
                refuse(protocol_v2.JSON_LENGTH, "binary tensors belong to version 2 of the protocol", status=415)
            asks = protocol_v1.parse(await read_body(request))
            return asks, lambda answers: protocol_v1.render(
                answers, model_version=self._served.version, variant=caller.variant, request_id=caller.request_id
            )

        return await self._answer(request, name, None, asked)

    async def v2(self, request: Request, name: str, version: str | None = None) -> Response:
        async def asked(caller: Caller) -> tuple[list[Ask], Render]:
            json_length = request.headers.get(protocol_v2.JSON_LENGTH)
            asks, wish = protocol_v2.parse(await read_body(request), name=self._served.name, json_length=json_length)
            return asks, lambda answers: protocol_v2.render(
                answers,
                wish,
                name=self._served.name,
                model_version=self._served.version,
                variant=caller.variant,
                request_id=caller.request_id,
            )

        return await self._answer(request, name, version, asked)

    async def _answer(
        self,
        request: Request,
        name: str,
        version: str | None,
        asked: Callable[[Caller], Awaitable[tuple[list[Ask], Render]]],
    ) -> Response:
        served, started, caller = self._served, perf_counter(), caller_of(request, self._served.service)
        answers: Sequence[Answer] = ()
        try:
            check_model(self._served.name, self._served.version, name, version)
            if not caller.is_fit:
                refuse(visitor_id.HEADER, visitor_id.WHY_NOT, status=400)
            asks, render = await asked(caller)
            answers = await self._rank(asks, caller, started)
            response = self._respond(answers, render, caller, started)
        except Malformed as malformed:
            response = Response(malformed.body(), malformed.status, headers=malformed.headers, media_type=JSON)
        response.headers["x-request-id"] = caller.request_id.encode("utf-8").decode("latin-1")  # as it came
        response.headers["x-model-version"] = served.version
        served.metrics.answered(
            variant=caller.variant,
            status=response.status_code,
            seconds=perf_counter() - started,
            rungs=[answer.rung for answer in answers],
        )
        return response

    async def _rank(self, asks: Sequence[Ask], caller: Caller, started: float) -> Sequence[Answer]:
        served = self._served
        if caller.is_visitor and (delay := served.faults.delay_seconds(caller.request_id)):
            await asyncio.sleep(delay)
        stale = caller.is_visitor and served.faults.stale(caller.request_id)
        found = await self._look_up([ask.user_id for ask in asks if ask.profile is None])
        answers = []
        for number, ask in enumerate(asks):
            if number:
                await asyncio.sleep(0)  # lets other requests in between the instances of a large one
            if ask.profile is not None:
                answers.append(await self._rank_given(ask, number))
                continue
            lookup = stopped_moving(found[ask.user_id]) if stale else found[ask.user_id]
            opened = served.ladder.open(ask.user_id, ask.k, lookup)
            answers.append(opened if isinstance(opened, Answer) else await self._ask_ranker(opened, started))
        return served.faults.cross(answers, caller.request_id) if caller.is_visitor else answers

    async def _look_up(self, users: Sequence[str]) -> dict[str, Lookup]:
        user = self._served.lookups.user
        if len(users) == 1:
            return {users[0]: await user(users[0])}
        return dict(zip(users, await asyncio.gather(*map(user, users)), strict=True))

    async def _ask_ranker(self, question: Question, started: float) -> Answer:
        served = self._served
        if perf_counter() - started > served.deadline_seconds:
            return served.ladder.close(question, None, "late")
        ranking = await served.ranker.call(partial(served.ladder.rank, question))
        if isinstance(ranking, Missed):
            return served.ladder.close(question, None, _RANKER_FLAGS[ranking.why])
        return served.ladder.close(question, ranking)

    async def _rank_given(self, ask: Ask, number: int) -> Answer:
        given, where = ask.profile, f"instances[{number}].profile"
        assert given is not None
        profile = UserProfile(ask.user_id, given.features, given.recent_items, given.recent_times)
        rank = partial(self._served.ladder.answer_given, profile, ask.k)
        answer: Answer | Missed = await self._served.ranker.call(rank)
        if isinstance(answer, Missed):
            refuse(where, f"cannot be ranked: {answer.why}", status=422 if answer.why == "unavailable" else 503)
        return answer

    def _respond(self, answers: Sequence[Answer], render: Render, caller: Caller, started: float) -> Response:
        if caller.is_answered and self._served.faults.fails(caller.request_id):
            return Response(dumps({"error": "drill: failing", "faults": []}), 500, media_type=JSON)
        rendered = render(answers)
        kept = self._expose(answers, caller, (perf_counter() - started) * 1_000)
        worst = max(answers, key=lambda answer: RUNGS.index(answer.rung))
        headers = {"x-recsys-rung": worst.rung, **rendered.headers} | ({} if kept else {"x-recsys-exposure": "lost"})
        return Response(rendered.body, 200, headers=headers, media_type=rendered.media_type)

    def _expose(self, answers: Sequence[Answer], caller: Caller, latency_ms: float) -> bool:
        served = self._served
        seen = [answer for answer in answers if "given_profile" not in answer.flags]
        if not seen or caller.visitor_id is None:
            return True  # a probe: nobody was shown anything
        lines = b"".join(
            exposure_line(
                answer,
                request_id=caller.request_id,
                served_at=served.now(),
                visitor_id=caller.visitor_id,
                model_version=served.version,
                variant=caller.variant,
                latency_ms=latency_ms,
            )
            for answer in seen
        )
        kept = served.exposures.write(lines, len(seen))
        if not kept:
            served.metrics.exposures_lost(len(seen))
        return kept


def build_app(served: Served) -> FastAPI:
    """The application of one loaded model version."""

    @asynccontextmanager
    async def primed(_: FastAPI) -> AsyncIterator[None]:
        await served.lookups.prime(served.known_users)
        yield
        served.lookups.close()
        served.ranker.close()

    app = FastAPI(
        title=served.name, version=served.version, docs_url=None, redoc_url=None, openapi_url=None, lifespan=primed
    )
    inference = Inference(served)
    versioned = "/v2/models/{name}/versions/{version}/infer"
    asked = {
        "/v1/models/{name}:predict": inference.v1,
        "/v2/models/{name}/infer": inference.v2,
        versioned: inference.v2,
    }
    for path, answer in asked.items():
        app.add_api_route(path, answer, methods=["POST"], response_model=None)
        app.add_api_route(path, _other_method, methods=["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
    add_metadata(app, name=served.name, version=served.version, lost=lambda: served.exposures.lost)
    app.add_api_route("/metrics", _metrics(served.metrics), methods=["GET"], response_model=None)
    add_error_answers(app)
    return app


async def _other_method(request: Request) -> Response:
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=_ALLOWED)
    rule = "a recommendation is asked for with POST, and a body that says for whom"
    body = {"error": f"{request.method}: {rule}", "faults": [{"where": "method", "rule": rule}]}
    return Response(dumps(body), 405, headers=_ALLOWED, media_type=JSON)


def _metrics(metrics: ServerMetrics) -> Callable[[], Awaitable[Response]]:
    async def text() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return text
