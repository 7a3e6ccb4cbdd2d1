"""Rules about the local processes: a port for each, time enough for each answer, room for each request.

Here: ports, budgets, limits of one machine. Not here: whether a port is free (platform/local/stack.py).
"""

from __future__ import annotations

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
)
def online_store_leaves_time(settings: Settings) -> Iterator[str]:
    store, budget = settings.serving.online_store_timeout_ms, settings.serving.latency_budget_ms
    if store >= budget:
        yield (
            f"serving.online_store_timeout_ms {number(store)} takes all of serving.latency_budget_ms {number(budget)}: "
            "an answer without the store would come too late; lower the first or raise the second"
        )


@rule("An answer within its budget comes before the gateway gives up", "serving.latency_budget_ms")
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
