"""Kubeconfig files: how a client finds the API server and who it says it is.

Here: writing one for a certificate or for a token. Not here: issuing either.
"""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from cluster.pki import Pair


def write_kubeconfig(path: Path, server: str, authority: Path, identity: Pair | str) -> Path:
    """A kubeconfig with everything inside the file; `identity` is a certificate with its key, or a bearer token."""
    user = {"token": identity} if isinstance(identity, str) else _certificate_user(identity)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": _inline(authority)}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _certificate_user(pair: Pair) -> dict[str, str]:
    return {"client-certificate-data": _inline(pair.certificate), "client-key-data": _inline(pair.key)}


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
