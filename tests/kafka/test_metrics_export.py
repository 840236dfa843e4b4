"""A worker's metrics reach an OTLP receiver, and are those of its page."""

import random

from prometheus_client.parser import text_string_to_metric_families

from support.cluster import Cluster
from support.otlp import MetricsReceiver, as_prometheus
from support.servers import wait_for
from support.traffic import RECORD, traffic
from tidegauge.engine.stage import PREDICTIONS


def predictions(samples):
    return sum(value for (name, _), value in samples.items() if name == "tidegauge_predictions_total")


def test_a_worker_sends_what_it_shows(broker, tmp_path):
    cluster = Cluster(broker, f"otlp-{random.randrange(10**6)}", tmp_path)
    cluster.apply(RECORD)
    events, end = traffic(14, 300)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    with MetricsReceiver() as receiver:
        cluster.start(0, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=receiver.url, OTEL_METRIC_EXPORT_INTERVAL="300")
        cluster.send(events + end)
        cluster.wait_for_predictions(count, "1m")
        wait_for(lambda: receiver.requests and predictions(as_prometheus(receiver.requests[-1][1])) >= count, 60, "all of them")

        def shown():
            page = text_string_to_metric_families(cluster.scrape(cluster.ports[0]))
            return {(s.name, frozenset(s.labels.items())) for f in page for s in f.samples if not s.name.endswith("_created")}

        # Series may begin between the two.
        wait_for(lambda: as_prometheus(receiver.requests[-1][1]).keys() == shown(), 60, "the same series")
        resource, _ = receiver.requests[-1]
        assert resource["service.instance.id"].endswith(f":{cluster.ports[0]}")
        assert cluster.stop() == [0]
