"""Rules about stores and the cluster: places that do not collide, addresses that are reachable, sizes that fit.

Here: names, addresses, quantities. Not here: any connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from recsys_assets.config_rules.places import data_places
from recsys_assets.config_rules.rule import number, rule

if TYPE_CHECKING:
    from recsys_assets.kubernetes_settings import Resources
    from recsys_assets.settings import Settings

_LOOPBACK: Final = re.compile(r"localhost|127(\.\d+){3}|::1|0\.0\.0\.0")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*|\*")
_LABEL_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_FACTORS: Final = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def amount(quantity: str) -> float:
    """What a Kubernetes quantity is worth: `500m` is 0.5, `1Gi` is 1073741824."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert found is not None
    return float(found[1]) * ({"": 1.0} | _FACTORS | _BINARY)[found[2]]


@rule("Tables and bundles lie in places of their own", "stores.tables", "stores.bundles")
def stores_lie_apart(settings: Settings) -> Iterator[str]:
    tables, bundles = settings.stores.tables, settings.stores.bundles
    if tables is None or bundles is None:
        return
    if f"{tables}/".startswith(f"{bundles}/") or f"{bundles}/".startswith(f"{tables}/"):
        yield (
            f"stores.tables {tables} and stores.bundles {bundles} lie within one another: give each a prefix of its own"
        )


@rule("Each secret has a variable of its own", "stores.ledger_url_env", "stores.online_password_env")
def secrets_differ(settings: Settings) -> Iterator[str]:
    stores = settings.stores
    for url in ("ledger_url_env", "feast_registry_url_env"):
        name = getattr(stores, url)
        if name is not None and name == stores.online_password_env:
            yield f"stores.{url} and stores.online_password_env both name {name}: an address is not a password"


@rule("A password belongs to an online store", "stores.online_password_env", "stores.online")
def password_has_a_store(settings: Settings) -> Iterator[str]:
    stores = settings.stores
    if stores.online_password_env is not None and stores.online is None:
        yield f"stores.online_password_env {stores.online_password_env} has no stores.online to open: name the store"


@rule("Settings of S3 are used by something", "stores.s3", "stores.tables", "stores.bundles", warning=True)
def s3_is_used(settings: Settings) -> Iterator[str]:
    stores = settings.stores
    said = {f"stores.s3.{k}": v for k, v in stores.s3.model_dump().items() if v is not None}
    used = stores.tables or stores.bundles or any(path.startswith("s3://") for _, path in data_places(settings))
    if said and not used:
        yield f"{', '.join(said)} has no effect: neither stores.tables, stores.bundles nor a path of data is on s3://"


@rule(
    "On a cluster no store is looked for on the pod itself", "stores.mlflow", "stores.online", "stores.s3.endpoint_url"
)
def stores_are_reachable_from_pods(settings: Settings) -> Iterator[str]:
    stores = settings.stores
    named = {"mlflow": stores.mlflow, "online": stores.online, "s3.endpoint_url": stores.s3.endpoint_url}
    for name, url in named.items():
        host = (urlsplit(url).hostname or "") if url else ""
        if settings.platform == "kubernetes" and _LOOPBACK.fullmatch(host):
            yield f"stores.{name} {url} is the pod itself on platform kubernetes: name the host that runs it"


@rule(
    "On a cluster data lie on s3:// or on the shared volume",
    "platform",
    "data.interactions.paths",
    "data.items.path",
    "data.users.path",
    warning=True,
)
def data_are_reachable_from_pods(settings: Settings) -> Iterator[str]:
    for name, path in data_places(settings):
        shared = path.startswith(("s3://", "{home}", str(settings.home)))
        if settings.platform == "kubernetes" and not shared:
            yield f"{name} {path!r} is a folder of one pod on platform kubernetes, unless something is mounted there"


def _sizes(settings: Settings) -> Iterator[tuple[str, Resources]]:
    kubernetes = settings.kubernetes
    yield "kubernetes.resources", kubernetes.resources
    yield from ((f"kubernetes.resources_by_role.{role}", of) for role, of in kubernetes.resources_by_role.items())
    yield from ((f"kubernetes.resources_by_step.{step}", of) for step, of in kubernetes.resources_by_step.items())


@rule(
    "Nothing asks for more than it may use",
    "kubernetes.resources",
    "kubernetes.resources_by_role",
    "kubernetes.resources_by_step",
)
def requests_fit_limits(settings: Settings) -> Iterator[str]:
    for name, of in _sizes(settings):
        for what, asked, limit in (("cpu", of.cpu, of.cpu_limit), ("memory", of.memory, of.memory_limit)):
            if limit is not None and amount(asked) > amount(limit):
                yield (
                    f"{name}.{what} {asked} is more than {name}.{what}_limit {limit}: Kubernetes refuses such pods; "
                    "raise the limit or ask for less"
                )


@rule(
    "Replicas that may grow have something to grow by",
    "kubernetes.autoscaling.metric",
    "kubernetes.autoscaling.min_replicas",
    "kubernetes.autoscaling.max_replicas",
    warning=True,
)
def replicas_grow_by_a_metric(settings: Settings) -> Iterator[str]:
    scaling = settings.kubernetes.autoscaling
    if scaling.metric == "none" and scaling.max_replicas > scaling.min_replicas:
        yield (
            f"kubernetes.autoscaling.max_replicas {scaling.max_replicas} is never reached from min_replicas "
            f"{scaling.min_replicas} with kubernetes.autoscaling.metric none: choose cpu or requests, or equal numbers"
        )


@rule(
    "A connection is given up before its request is",
    "kubernetes.connect_timeout_seconds",
    "kubernetes.request_timeout_seconds",
    warning=True,
)
def connecting_ends_first(settings: Settings) -> Iterator[str]:
    connect, request = settings.kubernetes.connect_timeout_seconds, settings.kubernetes.request_timeout_seconds
    if connect > request:
        yield (
            f"kubernetes.connect_timeout_seconds {number(connect)} is more than kubernetes.request_timeout_seconds "
            f"{number(request)}: lower the first"
        )


@rule("Each identity has an account of its own", "kubernetes.service_accounts")
def accounts_differ(settings: Settings) -> Iterator[str]:
    accounts = settings.kubernetes.service_accounts.model_dump()
    for (one, name), (other, same) in combinations(accounts.items(), 2):
        if name == same:
            yield (
                f"kubernetes.service_accounts.{one} and .{other} are both {name}: each could do what "
                "only the other may; "
                "name two accounts"
            )


@rule("Names are ones that Kubernetes takes", "kubernetes.gateway.hosts", "kubernetes.gateway.labels")
def cluster_names_are_valid(settings: Settings) -> Iterator[str]:
    gateway = settings.kubernetes.gateway
    for host in gateway.hosts:
        if not _HOST.fullmatch(host) or len(host) > 253:
            yield (
                f"kubernetes.gateway.hosts {host!r} is not a host name in small letters, such as shop.example.com or *"
            )
    for key, value in gateway.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL.fullmatch(value):
            yield (
                f"kubernetes.gateway.labels {key!r}: {value!r} is not a label: letters, digits, -, _ and ., at most 63"
            )
