"""What one request asks for and how a request is refused: the part that both versions of the protocol share.

Here: strict parsing of bytes, with place and rule of every fault. Not here: v1's and v2's own shapes, HTTP, ranking.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NoReturn, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

MAX_BODY_BYTES: Final = 1 << 20
MAX_INSTANCES: Final = 64
MAX_K: Final = 100
DEFAULT_K: Final = 10
MAX_ID_LENGTH: Final = 256
_MAX_FAULTS: Final = 10

BodyT = TypeVar("BodyT", bound=BaseModel)


class Malformed(Exception):  # noqa: N818
    """A request that is refused: the status (4xx) and every fault with its place and the rule it breaks."""

    def __init__(
        self, status: int, error: str, faults: Sequence[dict[str, str]] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.faults, self.headers = status, error, list(faults), dict(headers or {})

    def body(self) -> bytes:
        return orjson.dumps({"error": self.error, "faults": self.faults})


@dataclass(frozen=True)
class Rendered:
    """An answer's body, and the headers that say how to read it where it is not plain JSON."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


def refuse(where: str, rule: str, *, status: int = 422) -> NoReturn:
    """Refuse a request that has one fault."""
    raise Malformed(status, f"{where}: {rule}", [{"where": where, "rule": rule}])


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must hold printable characters only, without blanks at its ends")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Printable = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_printable)]
Finite = Annotated[float, AfterValidator(_finite)]


class Strict(BaseModel):
    """No coercion, no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GivenProfile(Strict):
    """A user's state, sent along: the answer then depends on nothing but the bundle. For probes and golden requests."""

    features: dict[str, Finite] = Field(default_factory=dict, max_length=1_000)
    recent_items: list[Identifier] = Field(default_factory=list, max_length=1_000)
    recent_times: list[Finite] = Field(default_factory=list, max_length=1_000)


class Ask(Strict):
    """One user's question: the best `k` items."""

    user_id: Identifier
    k: int = Field(default=DEFAULT_K, ge=1, le=MAX_K)
    profile: GivenProfile | None = None


def parse_body(raw: bytes, shape: type[BodyT]) -> BodyT:
    """Parse JSON into `shape`, or refuse with 400 (not JSON) or 422 (JSON of another shape, or a name twice)."""
    raw = _utf8(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as broken:
        raise Malformed(400, f"the body is not JSON: {broken}", [{"where": "body", "rule": "must be JSON"}]) from None
    if not isinstance(value, dict):
        refuse("body", "must be a JSON object")
    _refuse_twice(raw)
    try:
        return shape.model_validate(value)
    except ValidationError as broken:
        faults = [{"where": place(e["loc"]), "rule": e["msg"]} for e in broken.errors()[:_MAX_FAULTS]]
        first = faults[0]
        error = f"{broken.error_count()} fault(s), the first at {first['where']}: {first['rule']}"
        raise Malformed(422, error, faults) from None


def _utf8(raw: bytes) -> bytes:
    """The body without a byte order mark. JSON begins with ASCII, so a null byte gives another encoding away."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:4]:
        rule = "must be JSON in UTF-8, not in UTF-16 or UTF-32"
        raise Malformed(400, f"the body {rule}", [{"where": "body", "rule": rule}])
    return raw.removeprefix(codecs.BOM_UTF8)


def _refuse_twice(raw: bytes) -> None:
    """orjson takes the last of two members of one name; another reader on the way may have taken the first."""
    try:
        json.loads(raw, object_pairs_hook=_once)
    except _Twice as twice:
        refuse(twice.name[:200] or "body", "stands twice in one object")
    except RecursionError:
        refuse("body", "must not be nested so deep", status=400)


class _Twice(Exception):  # noqa: N818
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _once(pairs: list[tuple[str, Any]]) -> None:
    """The values are not wanted: only whether a name comes back."""
    if len(pairs) > 1:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Twice(name)
            seen.add(name)


def place(loc: tuple[int | str, ...]) -> str:
    """A place in the body as one would write it in code: `instances[3].user_id`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")[:200] or "body"


def check_profile(profile: GivenProfile | None, where: str) -> None:
    """The two lists of a given profile describe the same events."""
    if profile and len(profile.recent_items) != len(profile.recent_times):
        refuse(f"{where}.profile.recent_times", "must be as long as recent_items")


def dumps(value: Any) -> bytes:
    """JSON bytes; numpy numbers are allowed."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
