"""A real HTTP receiver in a thread: it answers, fails, hangs, drips or resets as told, and keeps what it took.

Here: http.server on a free port. Not here: any claim.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from recsys_assets_tests.waiting import HANG_SECONDS


@dataclass(frozen=True)
class Taken:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def event(self) -> str:
        return str(self.message["data"]["event"])


@dataclass
class Receiver:
    """`behave` is asked at each request: a status, or hang, drip or reset."""

    port: int = 0
    behave: Callable[[Taken], int | str] = lambda taken: 200
    taken: list[Taken] = field(default_factory=list)
    refused: list[Taken] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=a-secret"

    def ids(self) -> list[str]:
        return [str(t.message["id"]) for t in self.taken]


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Run it until the end of the block; on the same port again where it has one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken = Taken(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            answer = receiver.behave(taken)
            if isinstance(answer, int):
                (receiver.taken if 200 <= answer < 300 else receiver.refused).append(taken)
                self.send_response(answer)
                if 300 <= answer < 400:
                    self.send_header("location", "/elsewhere")
                self.end_headers()
                return
            receiver.refused.append(taken)
            _misbehave(self.connection, answer, receiver.over)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", receiver.port), Handler)
    receiver.port = server.server_address[1]
    receiver.over.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _misbehave(connection: socket.socket, how: str, over: threading.Event) -> None:
    if how == "reset":
        # Closing with a linger of zero sends a reset instead of an end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    elif how == "drip":
        # A byte in time for each read, and never an end.
        for byte in b"HTTP/1.1 200 OK\r\n" + b"x-slow: " + b"a" * 1_000:
            if over.wait(0.05):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return
    else:
        over.wait(HANG_SECONDS)
