"""The service's metrics for Prometheus. Each app has its own registry, so that two apps don't share counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

BUCKETS_S: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
NO_VERSION: Final = "none"


class Metrics:
    """The four metrics of an app, whose version never changes; None without a served model."""

    def __init__(self, version: int | None) -> None:
        # Else each counter brings a second series that nobody asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.version = NO_VERSION if version is None else str(version)
        self._registry = CollectorRegistry()
        label, registry = ["version"], self._registry
        self._total = Counter("wms_predictions_total", "Requests for a mask.", [*label, "status"], registry=registry)
        self._seconds = Histogram(
            "wms_predict_latency_seconds",
            "From the last byte of a photo to its mask, waiting included.",
            label,
            registry=registry,
            buckets=BUCKETS_S,
        )
        self._errors = Counter(
            "wms_predict_errors_total", "Requests for a mask that got none.", [*label, "reason"], registry=registry
        )
        loaded = Gauge("wms_model_loaded", "Whether a model is served.", registry=registry)
        loaded.set(version is not None)
        for status in ("ok", "error"):  # a rate over a series that appears with its first event misses that event
            self._total.labels(self.version, status)
        self._seconds.labels(self.version)

    def done(self, seconds: float) -> None:
        """Count a mask that took this long."""
        self._total.labels(self.version, "ok").inc()
        self._seconds.labels(self.version).observe(seconds)

    def failed(self, reason: str) -> None:
        """Count a request that got no mask; `reason` is a key of REASONS."""
        self._total.labels(self.version, "error").inc()
        self._errors.labels(self.version, reason).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
