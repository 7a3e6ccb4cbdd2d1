"""Servers on this machine's loopback, made reachable for the pods of a test cluster.

Here: a TCP forwarder on one address, in threads of its own. Not here: the servers (stores/servers.py).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16


@contextmanager
def forwarded(address: str, port: int) -> Iterator[str]:
    """While inside, `address`:`port` leads to the same port on loopback; yields `address:port`."""
    with socket.create_server((address, port)) as listening:
        threading.Thread(target=_accept, args=(listening, port), daemon=True).start()
        try:
            yield f"{address}:{port}"
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, port: int) -> None:
    while True:
        try:
            there, _ = listening.accept()
        except OSError:
            return  # closed: the test is over
        try:
            here = socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            there.close()  # as if the server itself were away
            continue
        here.settimeout(None)
        for source, target in ((there, here), (here, there)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
