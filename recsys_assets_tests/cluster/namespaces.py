"""A namespace of a test's own, so that tests share one API server and start empty.

Here: making and removing it. Not here: what a test puts there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.api import Api


@contextmanager
def own_namespace(api: Api, name: str) -> Iterator[str]:
    """The name, of a namespace that is asked to go at the end; nobody waits until it has gone."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield name
    finally:
        api.request("DELETE", f"/api/v1/namespaces/{name}")
