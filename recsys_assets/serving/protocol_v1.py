"""Version 1 of the inference protocol: `POST /v1/models/<name>:predict`.

Here: its request and its answer. Not here: version 2, HTTP, ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from recsys_assets.serving.ladder import Answer
from recsys_assets.serving.protocol import MAX_INSTANCES, Ask, Rendered, Strict, check_profile, dumps, parse_body


class _Request(Strict):
    instances: list[Ask] = Field(min_length=1, max_length=MAX_INSTANCES)


def parse(raw: bytes) -> list[Ask]:
    """The questions of a `:predict` body, in its order."""
    asks = parse_body(raw, _Request).instances
    for number, ask in enumerate(asks):
        check_profile(ask.profile, f"instances[{number}]")
    return asks


def render(answers: Sequence[Answer], *, model_version: str, variant: str, request_id: str) -> Rendered:
    """The answer body, one prediction for each instance."""
    body = {
        "predictions": [
            {
                "user_id": answer.user_id,
                "items": [
                    {"item_id": item, "score": float(score)}
                    for item, score in zip(answer.items, answer.scores, strict=True)
                ],
                "model_version": model_version,
                "variant": variant,
                "rung": answer.rung,
                "request_id": request_id,
                "flags": list(answer.flags),
            }
            for answer in answers
        ]
    }
    return Rendered(dumps(body))
