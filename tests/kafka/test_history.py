"""`tidegauge history` into a real Prometheus: whoever dies in between, the past ends as the topic has it."""

import asyncio
import json
import random
import time
from datetime import datetime

import pytest
from aiokafka import AIOKafkaProducer

from support.bridges import Bridge
from support.cluster import Cluster
from support.events import START, prediction, stream
from support.servers import Prometheus, wait_for
from support.traffic import RECORD
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.metrics.record import iso
from tidegauge.prometheus.window_samples import window_samples
from tidegauge.spec import duration
from tidegauge.stream import models_topic

HOURS_AGO = 6


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"history-{random.randrange(10**6)}", tmp_path)
    asyncio.run(models_topic.ensure_topics(made.settings))
    yield made
    made.stop()


@pytest.fixture
def prometheus(tmp_path):
    directory = tmp_path / "prometheus"
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "storage": {"tsdb": {"out_of_order_time_window": "1d"}},
    }
    with Prometheus(directory, config) as made:
        # It scrapes itself: its newest sample is of now, so that what we write is out of order by hours.
        config["scrape_configs"] = [{"job_name": "self", "static_configs": [{"targets": [f"127.0.0.1:{made.port}"]}]}]
        made.config.write_text(json.dumps(config))
        made.stop()
        made.start()
        wait_for(lambda: made.query("up"))
        yield made


def recent_traffic(seed, count):
    """Ten minutes of events of some hours ago, and an end that closes their windows."""
    shift = (time.time() - HOURS_AGO * 3600) // 300 * 300 - START
    events = []
    for topic, value in stream(seed, count):
        event = json.loads(value)
        events.append((topic, json.dumps(event | {"ts": event["ts"] + shift}).encode()))
    ends = [prediction(10**6 + i, START + shift + 1800, score=0.5, prediction=1) for i in range(64)]
    return events, [(PREDICTIONS, json.dumps(end).encode()) for end in ends]


def history(cluster, prometheus, *flags):
    target = f"{prometheus.url}/api/v1/write"
    return Bridge(cluster, "history", "--remote-write", target, "--out-of-order", "1d", *flags)


def seconds_of(moment):
    return datetime.fromisoformat(moment).timestamp()


def key_of(labels):
    return tuple(sorted((name, value) for name, value in labels.items() if value and name != "__name__"))


def test_all_labels_in_the_past_is_what_the_topic_says(cluster, prometheus):
    cluster.apply(RECORD)
    events, end = recent_traffic(11, 1500)
    early = [(topic, value) for topic, value in events if topic == PREDICTIONS]
    late = [(topic, value) for topic, value in events if topic == LABELS]
    cluster.start(0)
    with history(cluster, prometheus) as writer:
        cluster.send(early + end)
        cluster.wait_for_predictions(1500, "1m")
        cluster.send(late[: len(late) // 3])
        wait_for(lambda: writer.number('tidegauge_remote_write_samples_total{outcome="written"}'), 60)
        writer.kill()
        cluster.send(late[len(late) // 3 : 2 * len(late) // 3])
        prometheus.kill()
        writer.start()
        wait_for(lambda: "trying again" in writer.log.read_text(), 60)
        prometheus.start()
        writer.wait_ready()
        cluster.send(late[2 * len(late) // 3 :])
        final = cluster.wait_for_predictions(1500, "1m")
        wait_for(lambda: writer.number("tidegauge_remote_write_lag_records") == 0, 60)
        assert writer.number('tidegauge_remote_write_samples_total{outcome="rejected"}') == 0
        assert writer.stop() == 0
    revisions = {}
    for record in (json.loads(record.value) for record in cluster.read("metrics")):
        if "kind" in record:
            continue
        key = (record["window"], record["window_start"], str(record["segment"]), record["model_version"])
        revisions.setdefault(key, []).append(record)
    closed = [record for record in final.values() if "kind" not in record and record["closed"]]
    assert any(len(of) > 1 for of in revisions.values())
    # A range query over all windows of a length: one value each, the final one.
    for window in ("1m", "5m"):
        records = [record for record in closed if record["window"] == window]
        moments = [seconds_of(record["window_end"]) for record in records]
        for name in ("window_labels", "performance_roc_auc", "performance_accuracy", "feature_mean", "business_amount"):
            found = prometheus.query_range(
                f'last_over_time(tidegauge_history_{name}{{window="{window}"}}[{window}])', min(moments), max(moments),
                duration(window),
            )  # fmt: skip
            seen = {(key_of(s["metric"]), float(at)): float(value) for s in found for at, value in s["values"]}
            told = {
                (key_of(sample.labels), seconds_of(record["window_end"])): sample.value
                for record in records for sample in window_samples(record) if sample.name == f"tidegauge_{name}"
            }  # fmt: skip
            assert told
            assert {key: seen.get(key) for key in told} == pytest.approx(told)
    # As it was published first, and how often it was restated.
    for of in revisions.values():
        first, last = of[0], of[-1]
        at = seconds_of(last["window_end"])
        name = "tidegauge_history_window_labels"
        mine = key_of(next(sample for sample in window_samples(first) if sample.name == "tidegauge_window_labels").labels)
        query = f'{name}{{window="{first["window"]}"}}'
        published = {key_of(s["metric"]): float(s["value"][1]) for s in prometheus.query(f"{query} offset 1s", at)}
        counts = prometheus.query(f"count_over_time({query}[{first['window']}]) - 1", at)
        restated = {key_of(s["metric"]): float(s["value"][1]) for s in counts}
        assert (published[mine], restated[mine]) == (first["labels"], len(of) - 1)


def record_of(now, seconds_ago, **more):
    end = now - seconds_ago
    return {
        "model": "m", "model_version": "m:1", "segment": {}, "window": "5m", "window_start": iso(end - 300),
        "window_end": iso(end), "revision": 1, "closed": True, "predictions": int(seconds_ago), "labels": 3, "system": {},
        "data": {"features": {}},
    } | more  # fmt: skip


def test_what_prometheus_would_refuse_costs_nothing_else(cluster, prometheus):
    """Prometheus takes a day; we are told so, or told wrongly."""
    now = time.time() // 300 * 300
    hours = [1, 2, 5, 23.5, 24.5, 30, 47]
    records = [record_of(now, hour * 3600) for hour in hours]
    records += [
        record_of(now, 7200, kind="comparison"),
        record_of(now, 7200, closed=False),
        record_of(now, 10800, revision=10**9),
        {"odd": 1},
    ]

    async def send():
        async with AIOKafkaProducer(**cluster.settings.client()) as producer:
            for number, record in enumerate(records):
                value = json.dumps(record).encode()
                await producer.send_and_wait(cluster.settings.topic("metrics"), value, key=b"%d" % number)
            await producer.send_and_wait(cluster.settings.topic("metrics"), b"{", key=b"x")

    asyncio.run(send())

    def outcomes(writer):
        writer.wait_ready()
        names = ("written", "too_old", "rejected")
        return [writer.number(f'tidegauge_remote_write_samples_total{{outcome="{name}"}}') for name in names]

    with history(cluster, prometheus) as writer:
        assert outcomes(writer) == [8, 6, 0]
        assert writer.number("tidegauge_remote_write_unreadable_total") == 1
    query = "last_over_time(tidegauge_history_window_predictions[5m])"
    written = {float(s["value"][1]) for hour in hours for s in prometheus.query(query, now - hour * 3600)}
    assert written == {hour * 3600 for hour in hours if hour < 24}
    # The same again from the beginning, by one that believes 30 days are taken: only what is too old is refused.
    with history(cluster, prometheus, "--out-of-order", "30d", "--app-id", f"{cluster.name}-again") as writer:
        assert outcomes(writer) == [8, 0, 6]
