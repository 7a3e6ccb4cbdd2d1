"""Clients of the programs on this machine, which speak plain HTTP.

Here: a client that is cheap to make. Not here: what is asked, or anything that goes over a network.
"""

from __future__ import annotations

import ssl

import httpx


def plain_client(*, timeout: float, base_url: str = "") -> httpx.Client:
    """A client that trusts no certificate: reading the usual ones would be nearly all of its cost."""
    return httpx.Client(
        base_url=base_url, timeout=timeout, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
