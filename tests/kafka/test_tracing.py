"""Spans reach a collector where OpenTelemetry's variables name one."""

import asyncio
import http.server
import json
import random
import threading
import time
import urllib.request

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.cluster import Cluster
from support.events import START, prediction
from support.servers import wait_for
from support.traffic import RECORD, traffic
from tidegauge.client import Client
from tidegauge.engine.stage import PREDICTIONS


@pytest.fixture
def collector():
    """An OTLP/HTTP collector's address, and the (resource, span) pairs it was sent."""
    spans = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for of in request.resource_spans:
                spans.extend((attributes(of.resource), span) for scope in of.scope_spans for span in scope.spans)
            body = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_traceparent_header_comes_out_as_an_exemplar_and_in_the_alert(broker, tmp_path):
    cluster = Cluster(broker, f"traced-{random.randrange(10**6)}", tmp_path)
    cluster.apply(RECORD)
    cluster.start(0)
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def send():
        async with Client(topics=cluster.settings.topics, **cluster.settings.client()) as client:
            for number in range(60):
                event = prediction(number, START + number / 10, error="no memory", score=0.5)
                await client.send(
                    PREDICTIONS, event["request_id"].encode(), json.dumps(event).encode(), {"traceparent": parent}
                )

    asyncio.run(send())
    deadline = time.monotonic() + 120
    while not (alerts := cluster.alerts()) and time.monotonic() < deadline:
        time.sleep(0.5)
    evidence = alerts[0]["data"]["evidence"]
    assert evidence["traces"] == [{"request_id": i, "traceparent": parent} for i in evidence["request_ids"]]
    request = urllib.request.Request(
        f"http://127.0.0.1:{cluster.ports[0]}/metrics", headers={"Accept": "application/openmetrics-text"}
    )

    def failed():
        with urllib.request.urlopen(request, timeout=30) as page:
            families = {family.name: family for family in text_string_to_metric_families(page.read().decode())}
        (found,) = [s for s in families["tidegauge_prediction_errors"].samples if s.name.endswith("_total")]
        return found

    # The alert needs less than all of them.
    wait_for(lambda: failed().value >= 60, 60, "all of them")
    assert failed().value == 60
    assert failed().exemplar.labels == {"trace_id": parent[3:35]}
    assert cluster.stop() == [0]


def attributes(of):
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in of.attributes}


def test_checkpoints_and_restores_are_spans(broker, tmp_path, collector):
    address, spans = collector
    cluster = Cluster(broker, f"tracing-{random.randrange(10**6)}", tmp_path)
    cluster.apply(RECORD)
    events, _ = traffic(12, 300)
    cluster.start(0, OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_BSP_SCHEDULE_DELAY="200")
    cluster.send(events)
    deadline = time.monotonic() + 120
    while "checkpoint" not in {span.name for _, span in spans} and time.monotonic() < deadline:
        time.sleep(0.2)
    assert cluster.stop() == [0]
    restored = {
        (a["tidegauge.stage"], a["tidegauge.partition"]) for _, s in spans if s.name == "restore" for a in [attributes(s)]
    }
    assert restored == {(stage, partition) for stage in ("join", "monitor") for partition in range(4)}
    counted = [attributes(span)["tidegauge.events"] for _, span in spans if span.name == "checkpoint"]
    # The orderly end sends the last spans too: every event is in one of them, and each profile delta in another.
    assert sum(counted) >= len(events)
    assert all(resource["service.name"] == "tidegauge" for resource, _ in spans)
