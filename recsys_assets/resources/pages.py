"""Links to a report that open: on this machine from the home, and from the MLflow run that keeps it for good.

Here: attaching a page to its run, and the metadata that link to it. Not here: writing the page, or serving it
(serving/report_pages.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import dagster as dg

from recsys_assets.resources.registry import ModelRegistryResource, VersionMissing
from recsys_assets.settings import Settings

FOLDER = "reports"


def local_mlflow(settings: Settings) -> str:
    """MLflow's address on this machine, for where no server is configured."""
    return f"http://{settings.serving.host}:{settings.serving.mlflow_port}"


def report_links(
    settings: Settings, registry: ModelRegistryResource, page: Path, *, name: str, run_id: str | None
) -> dict[str, Any]:
    """Metadata `name`, which opens the page, and `name_in_mlflow`, its place in the run's artifacts.

    `page` is below the home's folder `reports`. On a cluster the page itself comes from MLflow, too; where there is no
    run (no model was trained, or a person deleted it) it is a file there.
    """
    relative = page.relative_to(settings.path(FOLDER)).as_posix()
    served = f"http://{settings.serving.host}:{settings.serving.collector_port}/{FOLDER}/{quote(relative)}"
    links: dict[str, Any] = {name: dg.MetadataValue.url(served) if settings.platform == "local" else str(page)}
    try:
        artifact = None if run_id is None else registry.attach(run_id, page, f"{FOLDER}/{relative}")
    except VersionMissing:  # a person deleted the run; the page is no less true
        artifact = None
    if artifact is None:
        return links
    server = registry.server(local_ui=local_mlflow(settings))
    if settings.platform != "local":
        links[name] = dg.MetadataValue.url(
            f"{server}/get-artifact?{urlencode({'path': artifact.path, 'run_uuid': run_id})}"
        )
    in_run = f"{server}/#/experiments/{artifact.experiment_id}/runs/{run_id}/artifacts/{quote(artifact.path)}"
    return links | {f"{name}_in_mlflow": dg.MetadataValue.url(in_run)}
