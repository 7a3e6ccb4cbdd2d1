"""The model server's own numbers for Prometheus, each with the model and its version as labels.

Here: names, labels and buckets. Not here: any verdict; those rest on exposures and on the gateway's counts.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ServerMetrics:
    """One registry for one server, so that two servers in one process do not share numbers."""

    def __init__(self, *, model: str, model_version: str) -> None:
        self._registry = CollectorRegistry()
        self._own = {"model": model, "model_version": model_version}
        labels = ["model", "model_version", "variant"]
        self._requests = Counter("recsys_requests", "Requests answered.", [*labels, "status"], registry=self._registry)
        self._rungs = Counter(
            "recsys_predictions", "Predictions by rung of the ladder.", [*labels, "rung"], registry=self._registry
        )
        self._latency = Histogram(
            "recsys_latency_seconds", "Time to answer.", labels, buckets=_SECONDS, registry=self._registry
        )
        self._lost = Counter(
            "recsys_exposures_lost", "Exposure lines that could not be kept.", labels[:2], registry=self._registry
        )
        info = Gauge("recsys_model_info", "1 for the version that is served.", labels[:2], registry=self._registry)
        info.labels(**self._own).set(1)
        self._lost.labels(**self._own)

    def answered(self, *, variant: str, status: int, seconds: float, rungs: list[str]) -> None:
        self._requests.labels(**self._own, variant=variant, status=str(status)).inc()
        self._latency.labels(**self._own, variant=variant).observe(seconds)
        for rung in rungs:
            self._rungs.labels(**self._own, variant=variant, rung=rung).inc()

    def exposures_lost(self, count: int) -> None:
        self._lost.labels(**self._own).inc(count)

    def text(self) -> bytes:
        return generate_latest(self._registry)
