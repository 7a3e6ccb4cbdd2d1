"""One request's body, read under limits: its content type, its content coding, its size, the time it may take.

Here: what the model server and the collector share. Not here: what stands in a body (protocol*.py).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from email.message import Message
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from recsys_assets.serving.protocol import MAX_BODY_BYTES, Malformed, refuse

JSON: Final = "application/json"
BODY_SECONDS: Final = 10.0
# What curl, browsers and other clients write on a body when nobody tells them what it is.
BY_DEFAULT: Final = frozenset({"application/x-www-form-urlencoded", "text/plain", "application/octet-stream"})
_CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})
# zlib's words for each coding; RFC 9110 means zlib's format by `deflate`, and some clients send it without the frame.
_WINDOWS: Final = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
ENCODINGS: Final = ("gzip", "deflate")


async def read_body(request: Request, limit: int = MAX_BODY_BYTES, *, labelled: bool = False) -> bytes:
    """The decoded body, or 4xx: too large (413), of another type or coding (415), too slow (408), broken (400).

    `labelled`: a type that only clients' defaults name does not do. Web pages can send those anywhere unasked.
    """
    _check_type(request.headers.get("content-type", ""), labelled=labelled)
    coding = _coding(request)
    if int(request.headers.get("content-length", "0") or 0) > limit:
        _too_large(limit)
    raw = await _received(request, limit)
    return raw if coding is None else _decoded(raw, coding, limit)


async def _received(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    _too_large(limit)
    except TimeoutError:
        refuse("body", f"must arrive within {BODY_SECONDS:.0f} seconds", status=408)
    except ClientDisconnect:
        refuse("body", "was cut off", status=400)
    return bytes(body)


def _too_large(limit: int) -> None:
    refuse("body", f"must not be longer than {limit} bytes", status=413)


def _check_type(header: str, *, labelled: bool) -> None:
    parsed = Message()
    parsed["content-type"] = header or JSON
    kind = parsed.get_content_type() if "/" in (header or JSON) else header.lower()
    is_json = kind in {JSON, "text/json"} or kind.endswith("+json")
    if not is_json and (labelled or kind not in BY_DEFAULT):
        refuse("content-type", f"must be {JSON}, not {kind[:80]}", status=415)
    charset = str(parsed.get_param("charset") or "").lower()
    if charset not in _CHARSETS:
        refuse("content-type", f"the charset must be utf-8, not {charset[:80]}", status=415)


def _coding(request: Request) -> str | None:
    """The one content coding of the body, None where it has none."""
    named = ",".join(request.headers.getlist("content-encoding")).lower()
    codings = [word for word in (part.strip() for part in named.split(",")) if word not in {"", "identity"}]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _WINDOWS:
        rule = f"must be one of {', '.join(ENCODINGS)}, once, not {named[:80]}"
        headers = {"accept-encoding": ", ".join(ENCODINGS)}
        fault = {"where": "content-encoding", "rule": rule}
        raise Malformed(415, f"content-encoding: {rule}", [fault], headers)
    return codings[0]


def _decoded(raw: bytes, coding: str, limit: int) -> bytes:
    """Never more than `limit` bytes in memory, however far the body would unfold."""
    why = "is empty"
    for window in _WINDOWS[coding] if raw else ():
        body = bytearray()
        try:
            for part in _unfolded(raw, window, limit):
                body += part
                if len(body) > limit:
                    _too_large(limit)
            return bytes(body)
        except (zlib.error, EOFError) as broken:
            why = str(broken)
    refuse("body", f"is not {coding}, as content-encoding says: {why}", status=400)


def _unfolded(raw: bytes, window: int, limit: int) -> Iterator[bytes]:
    """Part by part, and one member after the other, as gzip allows."""
    while raw:
        one = zlib.decompressobj(window)
        yield one.decompress(raw, limit + 1)
        if not one.eof:
            raise EOFError("it is cut off")  # more than the limit was refused before
        raw = one.unused_data
        if raw and window != 31:
            raise zlib.error("something follows its end")
