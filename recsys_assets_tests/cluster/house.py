"""An installation on the test cluster as fixtures: our chart, its stores beside the cluster, and Dagster on top.

Here: the fixtures, which conftest.py imports for every test of the cluster. Not here: how each part is installed
(installed.py, dagster_chart.py), any claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster.cluster import Cluster
from cluster.errors import MissingError
from image.build import archive, image_name, is_current
from recsys_assets_tests.cluster.forwarding import forwarded

if TYPE_CHECKING:
    from recsys_assets_tests.cluster.installed import Installed
    from recsys_assets_tests.stores.servers import S3, Postgres, Valkey

CLIENT = "web"
BUCKET = "cluster"
DATABASES = ("ledger", "feast", "mlflow", "dagster")
ONLINE_PASSWORD = "of-the-online-store"
# Model servers' own credentials, so that they can be taken from them alone.
MODEL_S3 = "recsys-model-s3"


@dataclass(frozen=True)
class Around:
    """The stores as pods see them, and a client's token. `urls` are of databases, by what they are for."""

    host: str
    postgres_port: int
    urls: Mapping[str, str]
    s3: str
    valkey: str
    token: str
    token_hashes: str
    keys: Mapping[str, str]

    def secrets(self) -> dict[str, dict[str, str]]:
        """Everything that docs/kubernetes.md has people create."""
        mlflow = self.urls["mlflow"].replace("postgresql://", "postgresql+psycopg2://")
        return {
            "recsys-ledger": {"LEDGER_URL": self.urls["ledger"]},
            "recsys-feast": {"FEAST_REGISTRY_URL": self.urls["feast"]},
            "recsys-online": {"ONLINE_PASSWORD": ONLINE_PASSWORD},
            "recsys-dagster-postgres": {"postgresql-password": "nobody-asks-for-it"},
            "recsys-mlflow": {"MLFLOW_BACKEND_STORE_URI": mlflow, "MLFLOW_S3_ENDPOINT_URL": self.s3},
            "recsys-signing-keys": dict(self.keys),
            "recsys-collector-tokens": {"collector_tokens.json": self.token_hashes},
        }


@pytest.fixture(scope="session")
def platform_image(cluster: Cluster) -> str:
    """Our image, known to the node; its name there."""
    if not is_current():
        told = f"{archive()} is absent or of other sources: `make image` makes it"
        pytest.fail(str(MissingError(told)), pytrace=False)
    cluster.import_image(archive())
    return f"docker.io/library/{image_name()}"


@pytest.fixture(scope="session")
def around(
    cluster: Cluster,
    postgres_server: Postgres,
    s3_server: S3,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Around]:
    """Postgres, S3 and Valkey on this machine, reachable for pods; databases, a bucket, keys and a token in them."""
    from recsys_assets.serving import tokens

    folder, host = tmp_path_factory.mktemp("around"), cluster.host_address
    names = {name: postgres_server.make(f"cluster_{name}").rsplit("/", 1)[-1] for name in DATABASES}
    s3_server.make(BUCKET)
    token = tokens.add(folder / "tokens.json", CLIENT, now=datetime.now(UTC))
    ports = (postgres_server.server.port, s3_server.server.port, valkey_server.server.port)
    with ExitStack() as open_ones:
        open_ones.enter_context(_password(valkey_server))
        postgres, s3, valkey = (open_ones.enter_context(forwarded(host, port)) for port in ports)
        yield Around(
            host=host,
            postgres_port=ports[0],
            urls={what: f"postgresql://postgres@{postgres}/{name}" for what, name in names.items()},
            s3=f"http://{s3}",
            valkey=f"redis://{valkey}/0",
            token=token,
            token_hashes=(folder / "tokens.json").read_text(encoding="utf-8"),
            keys=_key_pairs(folder / "keys"),
        )


@contextmanager
def _password(valkey: Valkey) -> Iterator[None]:
    """While inside, the online store wants the password that pods have in a Secret."""
    import redis

    with redis.Redis(port=valkey.server.port) as client:
        client.config_set("requirepass", ONLINE_PASSWORD)
    try:
        yield
    finally:
        with redis.Redis(port=valkey.server.port, password=ONLINE_PASSWORD) as client:
            client.config_set("requirepass", "")


def _key_pairs(folder: Path) -> dict[str, str]:
    from recsys_assets.signing import BUNDLE_KEY, RELEASE_KEY, private_key

    for name in (BUNDLE_KEY, RELEASE_KEY):
        private_key(folder, name)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix in {".key", ".pub"}}


@pytest.fixture(scope="session")
def installed(
    cluster: Cluster, platform_image: str, around: Around, s3_server: S3, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """Our chart, applied; nobody has waited for it yet."""
    from recsys_assets_tests.cluster.installed import install

    keys = {name: value for name, value in s3_server.environment.items() if name != "AWS_ENDPOINT_URL"}
    home = tmp_path_factory.mktemp("installation") / "home"
    to = [{"ipBlock": {"cidr": f"{around.host}/32"}}]
    ports = {"postgres": around.postgres_port, "s3": _port(around.s3), "redis": _port(around.valkey.removesuffix("/0"))}
    return install(
        cluster,
        home,
        image=platform_image,
        settings=_town()
        | {
            "stores": {
                "tables": f"s3://{BUCKET}/tables",
                "bundles": f"s3://{BUCKET}/bundles",
                "s3": {"endpoint_url": around.s3, "region": keys["AWS_REGION"]},
                "online": around.valkey,
            },
            "kubernetes": {
                "model_environment_secrets": [MODEL_S3, "recsys-online"],
                "resources": {"cpu": "50m", "memory": "256Mi", "cpu_limit": "2", "memory_limit": "2Gi"},
                # One of two can be lost without a user who notices.
                "autoscaling": {"min_replicas": 2, "max_replicas": 2},
                "concurrent_steps": 2,
            },
        },
        values={
            "publicKeys": {name: pem for name, pem in around.keys.items() if name.endswith(".pub")},
            "mlflow": {"artifacts": f"s3://{BUCKET}/mlflow", "envSecrets": ["recsys-mlflow", "recsys-s3"]},
            "network": {store: {"to": to, "ports": [port]} for store, port in ports.items()},
        },
        secrets=around.secrets() | {"recsys-s3": keys, MODEL_S3: keys},
    )


def _town() -> dict[str, Any]:
    """The town's data in place of the example's, and a plan that a small cluster can go through while somebody waits.

    Its latencies are those of two cores that also run the cluster, so the limits on them are wide.
    """
    from recsys_assets_tests.journeys import town

    written: dict[str, Any] = town.written()
    written["data"]["items"]["attributes"] |= dict.fromkeys(("title", "genres", "release_year"))
    written["traffic"] = {}
    written["serving"] = {
        "latency_budget_ms": 4_000,
        "online_store_timeout_ms": 1_000,
        "min_timeout_ms": 1_000,
        "ready_timeout_seconds": 150,
        "drills": True,
    }
    written["rollout"]["plan"] |= {
        "steps_bp": [1_000, 5_000],
        "min_visitors_per_arm": 100,
        "deadline_seconds": 420,
        "max_p99_ratio": 30.0,
        "max_degraded_rate_increase": 0.4,
    }
    return written


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[-1])


@pytest.fixture(scope="session")
def dagster(
    installed: Installed, platform_image: str, around: Around, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """Dagster's webserver and daemon and our code location, all available; skipped by name without Dagster's chart."""
    from recsys_assets_tests.cluster.dagster_chart import Stores, install_dagster

    stores = Stores(
        postgres_host=around.host,
        postgres_port=around.postgres_port,
        database=around.urls["dagster"].rsplit("/", 1)[-1],
        bucket=BUCKET,
        s3_endpoint=around.s3,
    )
    secrets = ("recsys-ledger", "recsys-feast", "recsys-online", "recsys-s3")
    try:
        install_dagster(
            installed, tmp_path_factory.mktemp("dagster"), image=platform_image, stores=stores, env_secrets=secrets
        )
    except MissingError as missing:
        pytest.skip(str(missing))
    return installed
