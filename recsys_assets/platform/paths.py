"""The paths that a gateway knows, as patterns for Envoy (RE2): recommendations, and questions about a model.

Here: one list for the local gateway, VirtualService and HTTPRoute. Not here: where each of them is routed to.
A slash at the end changes nothing, and some clients write the colon of `:predict` as `%3A`.
"""

from __future__ import annotations

import re
from typing import Final

FEEDBACK: Final = "/v1/feedback/?"
# What is asked of any server, whatever model it serves.
SERVER: Final = "/|/v1/models/?|/v2/?|/v2/health/(live|ready)/?"
# A path of a recommendation is one for POST only; the server answers any other method with 405.
OTHER_METHODS: Final = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
PINNED: Final = (
    "the path names a version: the release decides which version answers a visitor, so leave /versions/<version> out"
)


def recommendation(model: str) -> str:
    """`:predict` and `/infer` of this model."""
    name = re.escape(model)
    return f"/v1/models/{name}(:|%3[Aa])predict/?|/v2/models/{name}/infer/?"


def pinned(model: str) -> str:
    """`/infer` of one version: refused, since half of the visitors would be assigned to the other one."""
    return f"/v2/models/{re.escape(model)}/versions/[^/]+/infer/?"


def about(model: str) -> str:
    """What is asked about a model and is no recommendation: metadata and readiness, of each version as well."""
    name = re.escape(model)
    return f"/v[12]/models/{name}/?|/v2/models/{name}(/versions/[^/]+)?(/ready)?/?"


def known(models: str) -> str:
    """What to ask instead, for somebody who asked for another path."""
    return (
        f"known are POST /v1/models/<name>:predict and POST /v2/models/<name>/infer for {models}, POST /v1/feedback, "
        "and GET of /v2, /v2/health/live, /v2/health/ready, /v1/models, /v1/models/<name> and /v2/models/<name>"
    )
