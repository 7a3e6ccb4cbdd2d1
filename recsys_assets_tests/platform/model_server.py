"""A tiny model server for tests, run by the platform as a container's command. It knows only its version.

Its folder steers and records it: `<version>.mode` may hold `unready`, `failing`, `hang` or `quiet`; each answered POST
is a line `<host> <request id>` in `<version>.log`, but where it is to be quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    version, folder = "", Path()

    def do_GET(self) -> None:
        if self.path == "/v2/health/ready":
            self.answer(503 if self.mode() == "unready" else 200, {})
        else:
            self.answer(200, {"name": "films", "versions": [self.version]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.mode() == "hang":
            threading.Event().wait()
        if self.mode() == "failing":
            self.answer(500, {"error": "a drill"})
            return
        if self.mode() != "quiet":
            with (self.folder / f"{self.version}.log").open("a") as log:
                log.write(f"{self.headers['host']} {self.headers['x-request-id']}\n")
        variant = self.headers["x-recsys-variant"]
        self.answer(200, {"version": self.version, "variant": variant, "pid": os.getpid()})

    def mode(self) -> str:
        path = self.folder / f"{self.version}.mode"
        return path.read_text() if path.exists() else ""

    def answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        head = [f"HTTP/1.1 {status} -", f"content-length: {len(content)}", "content-type: application/json"]
        head += [f"x-model-version: {self.version}", "x-recsys-rung: full", "", ""]
        self.wfile.write("\r\n".join(head).encode() + content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--version", dest="model_version")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    Handler.version, Handler.folder = given.model_version, given.folder
    Server(("127.0.0.1", given.port), Handler).serve_forever()
