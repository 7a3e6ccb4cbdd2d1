"""Rules about the local processes: a port for each, time enough for each answer, room for each request.

Here: ports, budgets, limits of one machine. Not here: whether a port is free (platform/local/stack.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Final

from recsys_assets.config_rules.rule import number, rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings

PORTS: Final = ("gateway_port", "gateway_admin_port", "collector_port", "mlflow_port", "dagster_port")
# Stable, canary or shadow, and the successor of one of them while it is replaced.
LEAST_MODEL_PORTS: Final = 3
# The gateway gives up on a request after so long (platform/local/routing.py).
GATEWAY_TIMEOUT_MS: Final = 5_000.0
# What a request takes in the gateway's access log, somewhat more than was measured.
LOG_BYTES: Final = 500


def _ports(settings: Settings) -> dict[str, int]:
    """The ports that this machine's processes take. With stores.mlflow none is started here."""
    if settings.platform != "local":
        return {}
    kept = [name for name in PORTS if name != "mlflow_port" or settings.stores.mlflow is None]
    return {f"serving.{name}": getattr(settings.serving, name) for name in kept}


@rule("No two services share a port", *(f"serving.{name}" for name in PORTS))
def ports_differ(settings: Settings) -> Iterator[str]:
    for (one, port), (other, same) in combinations(_ports(settings).items(), 2):
        if port == same:
            yield f"{one} and {other} are both {port}: give each service a port of its own"


@rule(
    "No service's port lies among those of the model servers",
    *(f"serving.{name}" for name in PORTS),
    "serving.model_port_first",
    "serving.model_port_last",
)
def model_ports_are_their_own(settings: Settings) -> Iterator[str]:
    first, last = settings.serving.model_port_first, settings.serving.model_port_last
    for name, port in _ports(settings).items():
        if first <= port <= last:
            yield (
                f"{name} {port} lies within serving.model_port_first {first} to serving.model_port_last {last}: "
                "move it out, or move the range"
            )


@rule("There are ports for the servers of a release", "serving.model_port_first", "serving.model_port_last")
def model_ports_suffice(settings: Settings) -> Iterator[str]:
    first, last = settings.serving.model_port_first, settings.serving.model_port_last
    count = last - first + 1
    if settings.platform == "local" and count < LEAST_MODEL_PORTS:
        yield (
            f"serving.model_port_first {first} to serving.model_port_last {last} are {count} ports, a release needs "
            f"{LEAST_MODEL_PORTS}: stable, canary, and the successor of one that is replaced; widen the range"
        )


@rule(
    "The online store leaves time within the budget of an answer",
    "serving.online_store_timeout_ms",
    "serving.latency_budget_ms",
    warning=True,
)
def online_store_leaves_time(settings: Settings) -> Iterator[str]:
    store, budget = settings.serving.online_store_timeout_ms, settings.serving.latency_budget_ms
    if store >= budget:
        yield (
            f"serving.online_store_timeout_ms {number(store)} takes all of serving.latency_budget_ms {number(budget)}: "
            "an answer without the store would come too late; lower the first or raise the second"
        )


@rule(
    "The shortest timeout of the online store is not longer than its longest",
    "serving.min_timeout_ms",
    "serving.online_store_timeout_ms",
)
def timeouts_are_a_range(settings: Settings) -> Iterator[str]:
    given = "min_timeout_ms" in settings.serving.model_fields_set  # the default gives way to a shorter timeout
    shortest, longest = settings.serving.min_timeout_ms, settings.serving.online_store_timeout_ms
    if given and shortest > longest:
        yield (
            f"serving.min_timeout_ms {number(shortest)} is more than serving.online_store_timeout_ms "
            f"{number(longest)}: lower the first or raise the second"
        )


@rule("An answer within its budget comes before the gateway gives up", "serving.latency_budget_ms", warning=True)
def budget_fits_the_gateway(settings: Settings) -> Iterator[str]:
    budget = settings.serving.latency_budget_ms
    if budget > GATEWAY_TIMEOUT_MS:
        yield (
            f"serving.latency_budget_ms {number(budget)} is more than the {number(GATEWAY_TIMEOUT_MS)} ms after which "
            "the gateway gives up on a request: lower it"
        )


@rule("A request of the largest size can be kept", "collector.max_body_bytes", "collector.max_pending_bytes")
def bodies_fit_into_memory(settings: Settings) -> Iterator[str]:
    body, pending = settings.collector.max_body_bytes, settings.collector.max_pending_bytes
    if body > pending:
        yield (
            f"collector.max_body_bytes {body} is more than collector.max_pending_bytes {pending}: the largest requests "
            "would be refused for ever; lower the first or raise the second"
        )


@rule(
    "One client's limit lies below that of all",
    "collector.client_events_per_second",
    "collector.events_per_second",
    warning=True,
)
def one_client_is_limited(settings: Settings) -> Iterator[str]:
    one, every = settings.collector.client_events_per_second, settings.collector.events_per_second
    if one > every:
        yield (
            f"collector.client_events_per_second {number(one)} is more than "
            f"collector.events_per_second {number(every)}: "
            "one client could take all; lower the first"
        )


@rule(
    "Replayed users' events are taken by the collector",
    "traffic.rate",
    "collector.client_events_per_second",
    "collector.events_per_second",
    warning=True,
)
def replay_is_not_refused(settings: Settings) -> Iterator[str]:
    rate, collector = settings.traffic.rate, settings.collector
    limit = min(collector.client_events_per_second, collector.events_per_second)
    if rate > limit:
        yield (
            f"traffic.rate {number(rate)} is more than the {number(limit)} events a second that "
            "collector.client_events_per_second and collector.events_per_second let one client send: lower the rate"
        )


@rule(
    "The gateway's log holds the replayed requests of a whole release",
    "serving.gateway_log_bytes",
    "serving.gateway_log_files",
    "traffic.in_jobs",
    "traffic.rate",
    "rollout.plan.deadline_seconds",
    warning=True,
)
def gateway_log_holds_a_release(settings: Settings) -> Iterator[str]:
    serving, plan, rate = settings.serving, settings.rollout.plan, settings.traffic.rate
    kept = serving.gateway_log_bytes * serving.gateway_log_files
    needed = LOG_BYTES * rate * (plan.deadline_seconds + plan.bake_seconds)
    if settings.traffic.in_jobs and kept < needed:
        yield (
            f"serving.gateway_log_bytes {serving.gateway_log_bytes} times gateway_log_files "
            f"{serving.gateway_log_files} "
            f"hold less than the {needed:.0f} bytes that traffic.rate {number(rate)} writes up to "
            f"rollout.plan.deadline_seconds {number(plan.deadline_seconds)}: keep more, or shorten the deadline"
        )


@rule("The host can stand in an address with a port", "serving.host")
def host_fits_an_address(settings: Settings) -> Iterator[str]:
    host = settings.serving.host
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
        yield f"serving.host {host!r} is no IPv4 address and no host name without a port: write 127.0.0.1, for example"


@rule("What has no login is on loopback only", "serving.host", warning=True)
def host_is_loopback(settings: Settings) -> Iterator[str]:
    host = settings.serving.host
    if settings.platform == "local" and not re.fullmatch(r"localhost|127(\.\d+){3}", host):
        yield (
            f"serving.host {host} can be reached from other machines, and Dagster, MLflow and Envoy's "
            "administration ask "
            "for no login: put a proxy that does in front of them, or stay on 127.0.0.1"
        )
