"""One POST, with one limit on all of its time.

Here: the connection. Not here: what is sent, or what an answer means (delivery.py).
No redirect is followed and no proxy is used: a message goes to the address that was configured, or nowhere.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit


class Unreachable(Exception):  # noqa: N818
    """Nobody answered; the message says how that showed."""


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float) -> int:
    """The answer's status; its text is nobody's business. Raises Unreachable."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=timeout_seconds)
    # The connection's own timeout is for each read: a receiver that drips bytes would never reach it.
    late = threading.Event()
    limit = threading.Timer(timeout_seconds, _cut, (connection, late))
    limit.daemon = True
    limit.start()
    try:
        connection.request("POST", target, body, dict(headers))
        return connection.getresponse().status
    except (OSError, HTTPException) as broken:
        told = f"{type(broken).__name__}: {broken}".rstrip(": ")
        timed_out = late.is_set() or isinstance(broken, TimeoutError)
        raise Unreachable(f"no answer in {timeout_seconds:g} s" if timed_out else told) from None
    finally:
        limit.cancel()
        connection.close()


def _cut(connection: HTTPConnection, late: threading.Event) -> None:
    late.set()
    if connection.sock is not None:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            connection.sock.shutdown(socket.SHUT_RDWR)
