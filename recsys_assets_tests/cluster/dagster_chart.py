"""Dagster's own charts, from the cache folder, on a test cluster with our values.

Here: finding the chart, what differs from our values on one small node, applying it. Not here: our own (installed.py).
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import MissingError
from cluster.versions import cache_folder
from recsys_assets_tests.charts.house import VALUES, load, merged, pinned
from recsys_assets_tests.charts.render import run_helm
from recsys_assets_tests.cluster.installed import CLAIM, NAMESPACE, SMALL, Installed

PINNED = pinned(VALUES / "dagster.yaml")
WEBSERVER, DAEMON = "dagster-webserver", "dagster-daemon"
CODE = "recsys-code-dagster-user-deployments-recsys-code"


@dataclass(frozen=True)
class Stores:
    """Where Dagster keeps what it knows: a Postgres, and a bucket of an S3 server."""

    postgres_host: str
    postgres_port: int
    database: str
    bucket: str
    s3_endpoint: str


def archive() -> Path:
    """The chart of the pinned version, or the newest other one that is there; MissingError names what is wanted."""
    folder = cache_folder() / "charts"
    there = {path.name: path for path in folder.glob("dagster-[0-9]*.tgz")}
    wanted = f"dagster-{PINNED.version}.tgz"
    if not there:
        raise MissingError(
            f"{wanted} is not in {folder}: `helm pull dagster --version {PINNED.version} --repo "
            f"https://dagster-io.github.io/helm --destination {folder}`, where that repository can be reached"
        )
    return there.get(wanted) or there[max(there)]


def unpacked(folder: Path) -> Path:
    """The chart as a folder; the chart of code locations stands below it."""
    with tarfile.open(archive()) as opened:
        opened.extractall(folder, filter="data")
    return folder / "dagster"


def code_locations(chart: Path) -> Path:
    return chart / "charts" / "dagster-user-deployments"


def install_dagster(
    installed: Installed, folder: Path, *, image: str, stores: Stores, env_secrets: Sequence[str]
) -> None:
    """Webserver, daemon and our code location; returns when all are available."""
    chart = unpacked(folder)
    repository, _, tag = image.rpartition(":")
    ours = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
    secrets = [{"name": name} for name in env_secrets]
    _apply(installed, chart, "dagster", _system(ours, stores, secrets), folder)
    _apply(installed, code_locations(chart), "recsys-code", _code(ours, secrets), folder)
    installed.wait_available(WEBSERVER, DAEMON, CODE)


def _system(image: Mapping[str, Any], stores: Stores, secrets: Sequence[Any]) -> dict[str, Any]:
    part = {"image": image, "resources": SMALL, "envSecrets": secrets}
    logs = {"bucket": stores.bucket, "endpointUrl": stores.s3_endpoint, "useSsl": False, "uploadInterval": 2}
    launcher = {"imagePullPolicy": "Never", "resources": SMALL}
    values = {
        "postgresql": {
            "postgresqlHost": stores.postgres_host,
            "postgresqlUsername": "postgres",
            "postgresqlDatabase": stores.database,
            "postgresqlParams": {"sslmode": "disable"},
            "service": {"port": stores.postgres_port},
        },
        "dagsterWebserver": part,
        "dagsterDaemon": part,
        "computeLogManager": {"config": {"s3ComputeLogManager": logs}},
        "runLauncher": {"config": {"k8sRunLauncher": launcher}},
    }
    return merged(load(VALUES / "dagster.yaml"), values)


def _code(image: Mapping[str, Any], secrets: Sequence[Any]) -> dict[str, Any]:
    values = load(VALUES / "dagster-user-deployments.yaml")
    (code,) = values["deployments"]
    for volume in code["volumes"]:
        if volume["name"] == "home":
            volume["persistentVolumeClaim"] = {"claimName": CLAIM}
    return values | {"deployments": [code | {"image": image, "resources": SMALL, "envSecrets": secrets}]}


def _apply(installed: Installed, chart: Path, release: str, values: Mapping[str, Any], folder: Path) -> None:
    file = folder / f"{release}.yaml"
    file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    # Its schema refers to definitions on the web; test_other_charts.py judges the values by them.
    text = run_helm("template", release, str(chart), files=[file], more=["--skip-schema-validation"])
    installed.cluster.api.apply_text(text, NAMESPACE)
