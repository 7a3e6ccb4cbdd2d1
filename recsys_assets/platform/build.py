"""The platform that the settings name, for everybody who works without Dagster: guard, command line, drills.

Here: the choice, and one connection for each process. Not here: what a platform does. Imports no client until asked.
"""

from __future__ import annotations

import os
from functools import lru_cache

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import Platform
from recsys_assets.settings import Settings


def open_platform(settings: Settings) -> Platform:
    """Opens nothing that is not there yet but the local platform's own store."""
    if settings.platform == "kubernetes":
        # A connection does not survive a fork, so each process has its own.
        return _connected(settings.kubernetes.model_dump_json(), os.getpid())
    from recsys_assets.platform.local.store import open_store

    return open_store(settings)


def has_platform(settings: Settings) -> bool:
    """Whether there may be anything to read: before the first start a local home has no store."""
    return settings.platform == "kubernetes" or settings.path("platform", "manifests.db").exists()


@lru_cache(maxsize=4)
def _connected(settings: str, _process: int) -> Platform:
    from recsys_assets.platform.kubernetes.platform import KubernetesPlatform

    return KubernetesPlatform(KubernetesSettings.model_validate_json(settings))
