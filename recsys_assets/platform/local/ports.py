"""Ports of this machine: whether one is free, and which process has it.

Here: asking the kernel. Not here: which ports there should be (settings).
"""

from __future__ import annotations

import socket

import psutil


def is_free(host: str, port: int) -> bool:
    """Whether one may listen there now; connections that are only being forgotten do not count."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return False
    return True


def owner(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        found = [c.pid for c in listening if c.laddr and c.laddr.port == port]
        process = next((psutil.Process(pid) for pid in found if pid is not None), None)
        return "another process" if process is None else f"process {process.pid} ({process.name()})"
    except psutil.Error:
        return "another process"
