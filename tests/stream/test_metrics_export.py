"""Metrics by OTLP: what a receiver decodes is what /metrics shows, whatever was counted; and nothing unless it is asked for."""

import asyncio
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from support.otlp import MetricsReceiver, as_prometheus
from tidegauge.stream import metrics_export

NUMBERS = st.floats(0, 1e6)
LABELS = st.sampled_from(["a", "b", "ü"])
OBSERVATIONS = st.lists(st.tuples(LABELS, NUMBERS), max_size=20)


@pytest.fixture(scope="module")
def receiver():
    with MetricsReceiver() as made:
        yield made


def shown(registry):
    """Value by (name, labels) of the page /metrics, as Prometheus's own parser reads it."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [s for family in families for s in family.samples if not s.name.endswith("_created")]
    return {(s.name, frozenset(s.labels.items())): s.value for s in samples}


def sent(registry, receiver):
    """The first request of a process with these metrics."""

    async def send():
        stop = await metrics_export.start(registry, 9464)
        await stop()

    receiver.requests.clear()
    asyncio.run(send())
    return receiver.requests[-1]


@given(counted=OBSERVATIONS, set_to=OBSERVATIONS, observed=OBSERVATIONS)
def test_a_receiver_has_what_the_page_shows(receiver, counted, set_to, observed):
    registry = CollectorRegistry()
    counter = Counter("requests", "", ["kind"], registry=registry)
    gauge = Gauge("level", "", ["kind"], registry=registry)
    histogram = Histogram("seconds", "", ["kind"], registry=registry, buckets=(0.5, 10.0, 1000.0))
    Info("build", "", registry=registry).info({"version": "1"})
    for kind, number in counted:
        counter.labels(kind).inc(number)
    for kind, number in set_to:
        gauge.labels(kind).set(number)
    for kind, number in observed:
        histogram.labels(kind).observe(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(metrics_export.ENDPOINT, receiver.url)
        resource, metrics = sent(registry, receiver)
    assert as_prometheus(metrics) == shown(registry)
    assert resource["service.name"] == "tidegauge"
    assert resource["service.instance.id"] == f"{socket.gethostname()}:9464"


def test_counters_say_when_they_began(receiver, monkeypatch):
    monkeypatch.setenv(metrics_export.ENDPOINT, receiver.url)
    registry = CollectorRegistry()
    counter = Counter("requests", "", registry=registry)
    (created,) = (s.value for family in counter.collect() for s in family.samples if s.name.endswith("_created"))
    _, metrics = sent(registry, receiver)
    (point,) = metrics["requests"].sum.data_points
    assert metrics["requests"].sum.is_monotonic
    assert point.start_time_unix_nano == int(created * 1e9)
    assert point.start_time_unix_nano <= point.time_unix_nano


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_export_is_off_unless_asked_for(monkeypatch, environment, asked):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert metrics_export.asked_for() is asked


def test_a_collector_that_never_answers_keeps_nobody(monkeypatch):
    """The requests hang; the loop goes on, and the end does not wait for them."""

    async def work():
        stop = await metrics_export.start(CollectorRegistry(), 9464)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await stop()
        return time.monotonic() - began

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv(metrics_export.ENDPOINT, f"http://127.0.0.1:{deaf.getsockname()[1]}/v1/metrics")
        # The exporter's own patience is ten seconds.
        assert asyncio.run(work()) < 5
