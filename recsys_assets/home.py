"""The one folder of state: making it, and pointing Dagster at it.

Here: folders, the instance's configuration and its empty databases. Not here: what the rooms keep in there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys_assets.platform.local.locks import turn
from recsys_assets.settings import ConfigError, Settings

# In a checkout the file stands at the top; in a wheel it is packaged beside this module.
_CANDIDATES = (Path(__file__).parent.parent / "dagster.yaml", Path(__file__).parent / "dagster.yaml")


class HomeUnusable(ConfigError):  # noqa: N818 - named after what happened
    """The home folder cannot be made, or not be written to."""


def prepare(settings: Settings) -> None:
    """Make the home folder and its Dagster instance; safe to call again, and again after an interruption.

    An instance that somebody else configured, such as Dagster's chart, is left as it is, and must be there.
    """
    with _usable(settings):
        _make(settings)


def make_folder(settings: Settings) -> None:
    """Make the home folder alone."""
    with _usable(settings):
        settings.home.mkdir(parents=True, exist_ok=True)


@contextmanager
def _usable(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as refused:
        told = f"{settings.home}: cannot be the home folder: {refused.strerror} ({refused.filename})"
        raise HomeUnusable(f"{told}; let RECSYS_HOME name a folder that you may write to") from refused


def _make(settings: Settings) -> None:
    dagster_home = settings.dagster_home
    if dagster_home != settings.path("dagster"):
        if not (dagster_home / "dagster.yaml").is_file():
            raise ConfigError(f"{dagster_home}: there is no dagster.yaml, though DAGSTER_HOME is given from outside")
        settings.home.mkdir(parents=True, exist_ok=True)
        return
    from recsys_assets.resources import dagster_tables

    source = next(path for path in _CANDIDATES if path.exists())
    aside = dagster_home / "dagster.yaml.new"
    with turn(dagster_home / "making.lock"):
        shutil.copyfile(source, aside)
        dagster_tables.make(dagster_home)
        aside.replace(dagster_home / "dagster.yaml")


def environment(settings: Settings) -> dict[str, str]:
    """Variables for processes that work on this home: our settings, Dagster's home, UTC, and no library's telemetry."""
    return {
        **settings.environment(),
        "DAGSTER_HOME": str(settings.dagster_home),
        "FEAST_USAGE": "False",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        # For the logs of libraries, and the sessions of Postgres: what is ours is in UTC without it.
        "TZ": "UTC",
        "PGTZ": "UTC",
        # One thread each: on a small machine several processes share the cores.
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def adopt(settings: Settings) -> None:
    """Make this very process work on the home."""
    prepare(settings)
    os.environ.update(environment(settings))
