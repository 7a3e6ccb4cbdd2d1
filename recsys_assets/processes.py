"""Everything that `recsys-assets up` starts and `down` stops, on one home.

Here: the order and the words for people. Not here: how a process is supervised (platform/local/stack.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from recsys_assets import home
from recsys_assets.config_rules.book import doubts
from recsys_assets.notifications.receivers import receivers
from recsys_assets.platform.local import stack
from recsys_assets.settings import ConfigError, Settings


def start_everything(settings: Settings) -> Iterator[str]:
    """Start the stack and yield what to tell: the addresses, once they answer."""
    _refuse_elsewhere(settings)
    receivers(settings)  # raises ConfigError for what the notifier would die of
    home.adopt(settings)
    yield from (f"warning: {said}" for said in doubts(settings))
    yield f"starting on {settings.home} ..."
    stack.start(settings, waiting=_tell_waiting)
    serving = settings.serving
    base = f"http://{serving.host}"
    yield f"  Dagster   {base}:{serving.dagster_port}/asset-groups"
    yield f"  MLflow    {base}:{serving.mlflow_port}"
    yield f"  gateway   {base}:{serving.gateway_port}/v1/models/{settings.model_name}:predict"
    yield f"  Envoy     {base}:{serving.gateway_admin_port}"
    yield "stop everything with `make down`"


def stop_everything(settings: Settings) -> None:
    """Stop all processes of this home."""
    _refuse_elsewhere(settings)
    if settings.home.exists():
        stack.stop(settings, waiting=_tell_waiting)


def _tell_waiting() -> None:
    sys.stderr.write("another `up` or `down` of this home is under way; waiting for it ...\n")


def _refuse_elsewhere(settings: Settings) -> None:
    if settings.platform != "local":
        raise ConfigError(
            f"{settings.config_file}: platform {settings.platform}: its chart starts and stops everything there; "
            "`up` and `down` are for this machine"
        )
