"""The parts of one model server, put together from its options. Here: which part gets what. Not here: loading, HTTP."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recsys_assets.features.online import OnlineStoreUnavailable, open_reader
from recsys_assets.serving.app import Served
from recsys_assets.serving.exposures import ExposureLog
from recsys_assets.serving.faults import FAULTS, Faults
from recsys_assets.serving.ladder import RANKER_FAILURES, Ladder
from recsys_assets.serving.metrics import ServerMetrics
from recsys_assets.serving.online import OnlineLookups
from recsys_assets.serving.patience import Patience
from recsys_assets.serving.pulse import Pulse
from recsys_assets.serving.switch import Switch, switch_path
from recsys_assets.stalls import StallLog, uptime_seconds

if TYPE_CHECKING:
    from recsys_assets.recommender.bundle import Manifest
    from recsys_assets.recommender.recommender import Recommender
    from recsys_assets.serving.server import Options

# Ranking below this is not worth giving up; and one thread ranks, as two would only take each other's time.
LEAST_RANKING_SECONDS = 0.025
RANKING_THREADS = 1


def assemble(options: Options, manifest: Manifest, recommender: Recommender) -> Served:
    """Everything that the server holds for this model version."""
    service = options.service or f"{manifest.model}-v{manifest.version}"
    pulse = Pulse(uptime_seconds, late=StallLog(options.home, options.replica or service).late)
    lookups = OnlineLookups(
        open_reader(options.online_store, password=_password(options.online_password_env)),
        timeout_ms=options.online_timeout_ms,
        min_timeout_ms=options.min_timeout_ms,
        failures=(OnlineStoreUnavailable,),
        now=time.monotonic,
        pulse=pulse,
    )
    return Served(
        name=manifest.model,
        version=manifest.version,
        service=service,
        ladder=Ladder(recommender, cached_users=options.cached_users),
        lookups=lookups,
        ranker=Patience(
            "ranker",
            failures=RANKER_FAILURES,
            least_seconds=max(LEAST_RANKING_SECONDS, options.min_timeout_ms / 1_000),
            most_seconds=options.deadline_ms / 1_000,
            now=time.monotonic,
            threads=RANKING_THREADS,
            pulse=pulse,
        ),
        known_users=recommender.users(),
        exposures=ExposureLog(options.home / "logs" / "exposures" / f"{options.replica or service}.jsonl"),
        faults=_faults(options, service),
        metrics=ServerMetrics(model=manifest.model, model_version=manifest.version),
        deadline_seconds=options.deadline_ms / 1_000,
        now=lambda: datetime.now(UTC),
    )


def _password(variable: str | None) -> str | None:
    if variable is not None and variable not in os.environ:
        raise SystemExit(f"environment: {variable} is not set, though --online-password-env names it")
    return None if variable is None else os.environ[variable]


def _faults(options: Options, service: str) -> Faults:
    switch = Switch(switch_path(options.home, service), clock=time.monotonic, wall=time.time)
    return Faults(next((f for f in FAULTS if f == options.fault), None), switch if options.drills else None)
