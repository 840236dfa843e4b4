"""Versions seen together, from outside: comparison records and the alert on the worse one."""

import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline, flatten
from support.events import START, prediction
from support.schemas import mistakes
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.metrics.record import iso
from tidegauge.monitor.stage import MonitorStage
from tidegauge.spec import ModelSpec, RolloutSpec

DEFAULT = ModelSpec("churn", task="binary", windows=("1m", "5m"), grace=0.0)
SPEC = ModelSpec("churn", task="binary", windows=("5m",), grace=0.0, monitors=(), rollouts=(RolloutSpec("rollout", "5m"),))
"""The default comparison without the other default monitors, which take their time."""
OLD, NEW = "churn_xgb:3", "churn_xgb:4"


def shadowed(seed, count=300, minutes=20.0, harm=0.0, corrected=0.1, **members):
    """(topic, value): every request answered by both versions, the new one's score pulled towards 0.5 by ``harm``."""
    rng = random.Random(seed)
    events = []
    for number in range(count):
        ts = START + rng.random() * minutes * 60
        score = rng.random()
        mixed = (1 - harm) * score + harm * rng.random()
        for version, p, more in ((OLD, score, {}), (NEW, mixed, {"role": "shadow", **members})):
            event = prediction(
                number, ts, prediction=int(p > 0.5), score=p, model_version=version, latency_ms=rng.expovariate(0.1)
            )
            events.append((PREDICTIONS, json.dumps(event | more).encode()))
        known, label = ts + rng.expovariate(1 / 60), int(rng.random() < score)
        events.append((LABELS, _label(number, known, label)))
        if rng.random() < corrected:
            events.append((LABELS, _label(number, known + 30, 1 - label)))
    events.sort(key=lambda event: json.loads(event[1])["ts"])
    return events


def split(seed, count=2000, minutes=20.0, share=0.2, harm=0.0, slower=1.0, errors=0.0, lift=0.0, first=0):
    """(topic, value): a share of the requests goes to a canary."""
    rng = random.Random(seed)
    events = []
    for number in range(first, first + count):
        ts = START + (number - first + rng.random()) / count * minutes * 60
        canary, score = rng.random() < share, rng.random()
        said = (1 - harm) * score + harm * rng.random() if canary else score
        event = prediction(number, ts, prediction=int(said > 0.5), score=said, latency_ms=rng.gauss(20, 5))
        if canary:
            event |= {"model_version": NEW, "role": "canary", "latency_ms": slower * event["latency_ms"]}
            if rng.random() < errors:
                event["error"] = "no memory"
        events.append((PREDICTIONS, json.dumps(event).encode()))
        bought = int(rng.random() < 0.3 + (lift if canary else 0.0))
        label = _label(number, ts + rng.expovariate(1 / 60), int(rng.random() < score), {"converted": bought})
        events.append((LABELS, label))
    events.sort(key=lambda event: json.loads(event[1])["ts"])
    return events


def _label(number, ts, label, business=None):
    return json.dumps(
        {"request_id": f"r{number}", "ts": ts, "label": label} | ({"business": business} if business else {})
    ).encode()


def play(events, spec=SPEC, partitions=1, seed=None, chunk=200):
    rng = random.Random(seed)
    if seed is not None:
        events = list(events)
        rng.shuffle(events)
    pipeline = Pipeline(spec, partitions)
    for start in range(0, len(events), chunk):
        for topic in (PREDICTIONS, LABELS):
            pipeline.send(topic, [value for kind, value in events[start : start + chunk] if kind == topic])
        if seed is None or rng.random() < 0.5:
            pipeline.checkpoint(*(() if seed is None else (rng.randrange(partitions),)))
    pipeline.finish()
    return pipeline


def final(pipeline):
    """The final comparison records, by key, but for how often they were published."""
    records = {key: flatten(record) for key, record in pipeline.comparisons().items()}
    for record in records.values():
        del record[".revision"]
    return records


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), partitions=st.integers(1, 3), chunk=st.integers(5, 200))
def test_any_interleaving_ends_in_the_same_comparisons(seed, partitions, chunk):
    events = shadowed(1, 80, harm=0.5, role="canary") + split(2, 80, errors=0.2, first=1000)
    expected = final(play(events))
    assert len(expected) >= 4
    found = final(play(events, SPEC, partitions, seed, chunk))
    assert found.keys() == expected.keys()
    for key, record in expected.items():
        assert found[key].keys() == record.keys()
        for path, value in record.items():
            same = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float | list) else value
            # Sentences round what latency, a sum of floats, may have changed in its last digit.
            assert path == ".reason" or found[key][path] == same, (key, path)


def newest(pipeline):
    return max(pipeline.comparisons().values(), key=lambda record: record["window_start"])


def test_a_shadow_is_compared_on_the_same_requests():
    events = shadowed(3, 800, harm=0.5)
    record = newest(play(events))
    predictions, labels = {}, {}
    for topic, value in events:
        event = json.loads(value)
        if topic == PREDICTIONS:
            predictions[event["request_id"], event["model_version"]] = event
        elif event["ts"] >= labels.get(event["request_id"], event)["ts"]:
            labels[event["request_id"]] = event
    rows = [(predictions[r, OLD], predictions[r, NEW], of["label"]) for r, of in labels.items()]
    losses = np.array([((a["score"] - y) ** 2, (b["score"] - y) ** 2) for a, b, y in rows])
    right = np.array([(a["prediction"] == y, b["prediction"] == y) for a, b, y in rows], float)
    brier, accuracy = record["metrics"]["performance.brier"], record["metrics"]["performance.accuracy"]
    assert [brier["champion"], brier["challenger"]] == pytest.approx(losses.mean(axis=0), abs=1e-12)
    assert [accuracy["champion"], accuracy["challenger"]] == pytest.approx(right.mean(axis=0), abs=1e-12)
    assert brier["sample_sizes"] == {"champion": 800, "challenger": 800}
    assert brier["paired"]
    assert (record["champion"], record["role"], record["windows"]) == (OLD, "shadow", 4)
    # Pairs of the same request vary together: the interval is narrower than that of two samples.
    assert np.diff(brier["interval"])[0] < 0.7 * _two_sample_width(losses)


def _two_sample_width(losses):
    from tidegauge.metrics.sequential import half_width

    variance = losses.var(axis=0, ddof=1).sum()
    n = len(losses)
    return 2 * half_width(n / 2, (n / 2) ** 2 * variance / n, 0.01 / 5)


def test_a_canary_is_compared_as_two_samples_window_by_window():
    events = split(4, 3000, share=0.3)
    record = newest(play(events))
    accuracy = record["metrics"]["performance.accuracy"]
    labels = {of["request_id"]: of["label"] for of in map(json.loads, (v for t, v in events if t == LABELS))}
    cells = {}
    for event in map(json.loads, (v for t, v in events if t == PREDICTIONS)):
        window = cells.setdefault(event["ts"] // 300, {OLD: [], NEW: []})
        window[event["model_version"]].append(event["prediction"] == labels[event["request_id"]])
    weights = np.array([len(w[OLD]) * len(w[NEW]) / (len(w[OLD]) + len(w[NEW])) for w in cells.values()])
    means = np.array([[np.mean(w[OLD]), np.mean(w[NEW])] for w in cells.values()])
    expected = weights @ means / weights.sum()
    assert [accuracy["champion"], accuracy["challenger"]] == pytest.approx(expected, abs=1e-12)
    assert not accuracy["paired"]
    assert record["shared_requests"] == 0
    converted = record["metrics"]["business.converted.mean"]
    assert converted["judgement"] in ("open", "not worse")
    assert converted["interval"][0] < converted["difference"] < converted["interval"][1]


def rollout_alerts(pipeline):
    return [alert["data"] for alert in pipeline.of(ALERTS) if alert["data"]["kind"] == "rollout"]


def test_a_worse_shadow_is_to_be_rolled_back_and_the_alert_ends_with_it():
    worse = shadowed(5, 1500, minutes=15, harm=0.9)
    alone = [
        (PREDICTIONS, json.dumps(prediction(f"x{n}", START + 900 + n, prediction=1, score=0.7)).encode()) for n in range(1200)
    ]
    pipeline = play(worse + alone, DEFAULT)
    assert newest(pipeline)["verdict"] == "roll back"
    fired, resolved = rollout_alerts(pipeline)
    assert (fired["status"], fired["severity"], resolved["status"]) == ("firing", "warning", "resolved")
    assert fired["labels"] == {"alertname": "rollout", "model": "churn", "model_version": NEW, "segment": ""}
    assert fired["annotations"]["runbook_url"] == "docs/playbooks/canary-worse.md"
    assert fired["metric"].startswith("performance.")
    assert fired["evidence"]["comparison"]["verdict"] == "roll back"
    assert fired["evidence"]["request_ids"]
    assert "no longer seen together" in resolved["annotations"]["description"]


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ({"errors": 0.2}, "system.error_ratio"),
        ({"slower": 1.5}, "system.latency_ms.mean"),
        ({"lift": -0.25}, "business.converted.mean"),
        ({"harm": 1.0}, "performance."),
    ],
)
def test_a_worse_canary_is_critical_whatever_is_worse(broken, path):
    pipeline = play(split(6, 2500, share=0.4, **broken))
    (fired,) = rollout_alerts(pipeline)
    assert (fired["status"], fired["severity"]) == ("firing", "critical")
    assert fired["metric"].startswith(path)


def test_a_good_version_may_be_promoted():
    spec = ModelSpec("churn", task="binary", windows=("5m",), grace=0.0, rollouts=(RolloutSpec("canary", "5m", margin=0.2),))
    pipeline = play(shadowed(7, 2000, harm=0.0, corrected=0.0), spec)
    record = newest(pipeline)
    assert (record["verdict"], record["monitor"]) == ("promote", "canary")
    assert rollout_alerts(pipeline) == []
    first = min(pipeline.comparisons().values(), key=lambda record: record["window_start"])
    assert first["windows"] == 1


def test_corrected_labels_undo_a_verdict():
    """Labels that make the new version wrong wherever the two differ, and then, a while later, the other way round."""
    made = shadowed(8, 800, minutes=5, harm=0.5, corrected=0.0)
    made = [json.loads(value) for topic, value in made if topic == PREDICTIONS]
    said = {version: {e["request_id"]: e for e in made if e["model_version"] == version} for version in (OLD, NEW)}
    both = [
        prediction(f"x{n}", START + 300 + n * 60, prediction=1, score=0.7, model_version=version)
        for n in range(120) for version in (OLD, NEW)
    ]  # fmt: skip

    def labels(of, later):
        return [_label(r[1:], e["ts"] + later, e["prediction"]) for r, e in said[of].items()]

    pipeline = Pipeline(SPEC)
    for events in (made, both[:80]):
        pipeline.send(PREDICTIONS, [json.dumps(event | {"role": "live"}).encode() for event in events])
        pipeline.send(LABELS, labels(OLD, 1.0))
        pipeline.checkpoint()
    (fired,) = rollout_alerts(pipeline)
    assert (fired["status"], fired["window"]["start"]) == ("firing", "2025-09-27T00:00:00Z")
    pipeline.send(LABELS, labels(NEW, 2000.0))
    pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in both[80:]])
    pipeline.checkpoint()
    fired, resolved = rollout_alerts(pipeline)
    assert (resolved["status"], resolved["fingerprint"]) == ("resolved", fired["fingerprint"])
    pipeline.finish()
    metrics = newest(pipeline)["metrics"]
    assert metrics["performance.accuracy"]["challenger"] == 1.0 > metrics["performance.accuracy"]["champion"]


def test_what_is_published_is_what_the_schemas_say():
    for events in (shadowed(13, 600, harm=0.9), split(13, 1500, errors=0.3)):
        pipeline = play(events)
        assert [m for record in pipeline.comparisons().values() for m in mistakes("comparison-record", record)] == []
        alerts = [alert for alert in pipeline.of(ALERTS) if alert["data"]["kind"] == "rollout"]
        assert alerts
        assert [m for alert in alerts for m in mistakes("alert", alert)] == []


def test_one_version_alone_is_compared_with_nobody():
    pipeline = play([event for event in split(9, 300) if NEW.encode() not in event[1]])
    assert pipeline.comparisons() == {}
    assert not [key for key, _ in pipeline.monitor._store.scan(b"g")]


def test_the_spec_may_name_the_champion():
    spec = ModelSpec("churn", task="binary", windows=("5m",), grace=0.0, champion=NEW)
    record = newest(play(shadowed(10, 200), spec))
    assert (record["champion"], record["model_version"]) == (NEW, OLD)
    assert newest(play(shadowed(10, 200)))["champion"] == OLD


def switched(seed=11, minutes=30.0, count=900):
    """The shadow is promoted after ten minutes and rolled back after twenty; event, ts and role of each prediction."""
    events = []
    for topic, value in shadowed(seed, count, minutes, corrected=0.0):
        event = json.loads(value)
        if topic == PREDICTIONS:
            promoted = 600 <= event["ts"] - START < 1200
            event["role"] = "live" if (event["model_version"] == NEW) == promoted else "shadow"
        events.append((topic, json.dumps(event).encode()))
    return events


@pytest.mark.parametrize(("partitions", "chunk"), [(1, 10_000), (1, 7), (3, 50)])
def test_the_champion_is_who_was_live_and_switches_are_dated(partitions, chunk):
    events = switched()
    records = sorted(play(events, partitions=partitions, chunk=chunk).comparisons().values(), key=lambda r: r["window_start"])
    champions = {record["window_start"]: record["champion"] for record in records}
    assert list(champions.values()) == [OLD, OLD, NEW, NEW, OLD, OLD]
    assert len(records) == 6
    assert {record["role"] for record in records} == {"shadow"}
    predictions = [json.loads(value) for topic, value in events if topic == PREDICTIONS]
    dated = []
    for begin, roles in ((600, ("live", "shadow")), (1200, ("shadow", "live"))):
        for version, role in zip((NEW, OLD), roles, strict=True):
            since = min(p["ts"] for p in predictions if p["model_version"] == version and p["ts"] >= START + begin)
            dated.append({"model_version": version, "role": role, "since": iso(since)})
    assert sorted(records[-1]["switches"], key=str) == sorted(dated, key=str)
    assert "switches" not in records[0]
    assert [m for record in records for m in mistakes("comparison-record", record)] == []


def test_a_restart_changes_no_comparison():
    events = shadowed(11, 400, harm=0.5)
    expected = final(play(events))
    pipeline = Pipeline(SPEC)
    for start in range(0, len(events), 200):
        for topic in (PREDICTIONS, LABELS):
            pipeline.send(topic, [value for kind, value in events[start : start + 200] if kind == topic])
        pipeline.checkpoint()
        old = pipeline.monitor
        pipeline.monitor = MonitorStage(old._store, pipeline.registry, 1, pipeline.counters)
        assert pipeline.monitor.rollouts.newest == old.rollouts.newest
    pipeline.finish()
    assert final(pipeline) == expected


def test_windows_past_their_retention_still_count():
    spec = ModelSpec("churn", task="binary", windows=("1h",), grace=0.0, retention=3600.0, label_horizon=3600.0)
    events = shadowed(12, 600, minutes=4 * 1440, harm=0.5)
    pipeline = play(events, spec, chunk=60)
    kept = [header for header in pipeline.monitor.windows.headers.values() if header.version == OLD]
    record = newest(pipeline)
    assert record["windows"] > len(kept) + 20
    assert record["metrics"]["system.error_ratio"]["sample_sizes"] == {"champion": 600, "challenger": 600}
    assert record["metrics"]["performance.brier"]["sample_sizes"]["champion"] > 550
