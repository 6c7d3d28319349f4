"""What /metrics tells: Prometheus counters, gauges and histograms, without a word of anybody's text."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64)


class Measures:
    """One server's figures. Prompts are labels only where they are served, so that requests cannot add labels at will."""

    def __init__(self) -> None:
        self._registry = all_of = CollectorRegistry()
        self._requests = Counter("pegbox_requests", "Requests answered", ["route", "prompt", "status"], registry=all_of)
        self._seconds = Histogram(
            "pegbox_request_seconds", "From request to answer", ["route"], buckets=SECONDS, registry=all_of
        )
        self._rows = Counter("pegbox_rows", "Rows answered", ["prompt"], registry=all_of)
        self._tokens = Counter("pegbox_tokens", "Positions that went through the model", registry=all_of)
        self._fill = Histogram("pegbox_turn_rows", "Rows in one turn of the running batch", buckets=ROWS, registry=all_of)
        self._busy = Counter("pegbox_model_seconds", "Seconds that the model was at work", registry=all_of)
        self._prompts = Gauge("pegbox_prompts", "Prompts", ["state"], registry=all_of)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Adds a gauge that is read when it is asked for."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def prompts(self, served: int, broken: int) -> None:
        self._prompts.labels("served").set(served)
        self._prompts.labels("broken").set(broken)

    def turn(self, rows: int, tokens: int, seconds: float) -> None:
        """See `pegbox.serve.scheduler.Meter`."""
        self._fill.observe(rows)
        self._tokens.inc(tokens)
        self._busy.inc(seconds)

    def request(self, route: str, prompt: str, status: int, seconds: float, rows: int) -> None:
        self._requests.labels(route, prompt, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if rows and status < 400:
            self._rows.labels(prompt).inc(rows)

    def page(self) -> bytes:
        return generate_latest(self._registry)
