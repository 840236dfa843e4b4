"""What alerts, pages, incidents and comparisons say has no gap, whatever is not known."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from support.sentences import EMPTY, numbers, without_some
from tidegauge.alert.book import AlertBook, AlertDetails, JudgedWindow
from tidegauge.alert.labels import Subject
from tidegauge.alert.life_cycle import line
from tidegauge.alert.paging import AlertEvent, decode, texts_of
from tidegauge.engine.stage import ALERTS, MemoryStore
from tidegauge.incident.sentences import line as incident_line
from tidegauge.judge.conditions import Verdict
from tidegauge.judge.evidence import NO_EVIDENCE
from tidegauge.judge.limits import limits_of
from tidegauge.judge.metric_names import TREE, _candidates
from tidegauge.judge.wording import MOST
from tidegauge.metrics.record import Window
from tidegauge.metrics.sequential import Contrast
from tidegauge.monitor.settling import performance_note
from tidegauge.rollout.verdict import judge as judge_rollout
from tidegauge.spec import Condition, DetectorSpec, MonitorSpec, RolloutSpec

METRICS = sorted(metric.replace("*", "age") for metric in _candidates(TREE, []))
WINDOW = Window("1h", 0.0, 3600.0)
maybe = st.none() | numbers


def sound(*texts: str) -> None:
    for text in texts:
        assert not EMPTY.search(text), text


def columns(text: str) -> list[str]:
    """The parts of a line in columns, which stand apart by two spaces."""
    return [part.strip() for part in text.split("  ") if part.strip()]


@given(
    st.sampled_from(METRICS), st.sampled_from([0.0, 0.812, -3.0, 1e9]), st.booleans(), maybe, maybe,
    st.sampled_from([(), ("age",), ("age", "plan")]),
    st.sampled_from([(), (("region", "eu"),)]), st.sampled_from(["", "; most in its upper tail"]),
)  # fmt: skip
def test_alerts_on_any_verdict_have_no_gap(metric, value, breached, baseline, p_value, names, segment, clause):
    book = AlertBook(MemoryStore())
    subject, said = Subject("m", "m:1", segment), []
    for number, ill in enumerate((True, breached)):
        window = Window("1h", number * 3600.0, (number + 1) * 3600.0)
        verdict = Verdict(MonitorSpec("watch", metric, "1h", Condition("above", high=0.1)), metric, value, ill, "above 0.1", 0,
                          baseline, p_value, names if metric.endswith("_features") else ())  # fmt: skip
        judged = JudgedWindow(window, True, 1, window.end)
        said += book.verdict(subject, verdict, judged, lambda status: AlertDetails(NO_EVIDENCE, clause))
    for output in said:
        event = json.loads(output.value)
        if output.topic == ALERTS:
            sound(event["data"]["annotations"]["summary"], event["data"]["condition"], *columns(line(event)))
            told = texts_of(decode(output.value).data)
            sound(*[part for text in told.values() for part in text.splitlines()])
        else:
            sound(event["data"]["title"], *columns(incident_line(event)))


@given(
    st.sampled_from(["age", "average_basket_value_of_the_last_thirty_days_in_euros_" * 3]),
    st.sampled_from(["m:1", "model" * 40]),
)
def test_the_first_sentence_is_the_same_everywhere(feature, version):
    """In the event, on a page, in a terminal and in the incident."""
    book = AlertBook(MemoryStore())
    path = f"data.features.{feature}.missing_ratio"
    monitor = MonitorSpec("watch", "data.features.*.missing_ratio", "1h", Condition("above", high=0.1))
    verdict = Verdict(monitor, path, 1.0, True, "above 0.1", 240)
    judged = JudgedWindow(WINDOW, False, 1, 1800.0)
    outputs = book.verdict(Subject("m", version), verdict, judged, lambda _: AlertDetails(NO_EVIDENCE))
    alert, incident = sorted((json.loads(o.value) for o in outputs), key=lambda event: event["type"])
    said = alert["data"]["annotations"]["summary"]
    assert said.endswith("` is missing in every request since 1 Jan 1970; 240 so far")
    assert len(said) <= MOST
    assert texts_of(decode(json.dumps(alert).encode()).data)["summary"] == said
    assert said in line(alert)
    assert incident["data"]["alerts"][0]["summary"] == incident["data"]["title"] == said
    assert said in incident_line(incident)


@given(maybe, st.sampled_from([None, 1e-5]), st.sampled_from([None, "hour_of_day"]))
def test_alerts_of_detectors_have_no_gap(value, false_alarms, against):
    book = AlertBook(MemoryStore())
    detector = DetectorSpec("d", "score", "adwin", false_alarms=false_alarms, against=against)
    outputs = book.detections.detection(Subject("m", "m:1"), detector, 60.0, {"value": value, "sample_size": 10}, 60.0)
    outputs += book.detections.resolve_if_quiet("m", detector, 600.0, 60.0)
    events = [json.loads(output.value) for output in outputs if output.topic == ALERTS]
    assert [event["data"]["status"] for event in events] == ["firing", "resolved"]
    for event in events:
        sound(event["data"]["annotations"]["summary"], event["data"]["condition"], *columns(line(event)))
        sound(*texts_of(decode(json.dumps(event).encode()).data).values())


EVIDENCE: dict[str, Any] = {
    "segments": [{"segment": {"region": "eu"}, "value": 0.7, "share": 0.4}],
    "features": [{"feature": "age", "psi": 0.4, "p_value": 0.01, "effect": 3.0}],
    "performance": {"window_start": "2025-09-27T00:00:00Z", "values": {"performance.roc_auc": 0.7}, "breached": ["auc"]},
    "drifted_features": ["age"],
    "explained": {"expected": 0.85, "shift": -0.05, "remaining": -0.15, "share": 0.25},
    "faulty_values": {"age": 0.3},
    "request_ids": ["r1"],
    "traces": [{"request_id": "r1", "traceparent": "00-1-2-01"}],
}
DATA: dict[str, Any] = {
    "status": "firing", "fingerprint": "0b", "severity": "critical", "labels": {"alertname": "auc"}, "annotations": {},
    "starts_at": "2025-09-27T00:00:00Z", "metric": "performance.roc_auc", "condition": "below 0.8", "value": 0.7,
    "baseline": 0.9, "sample_size": 10, "p_value": 0.01, "evidence": EVIDENCE,
    "window": {"length": "1d", "start": "a", "end": "b", "revision": 1},
}  # fmt: skip
PAGED = ("status", "fingerprint", "severity", "labels", "annotations", "starts_at", "alertname")


@st.composite
def emptied(draw: st.DrawFn, node: Any) -> Any:
    """The same with any value null, or nothing of its kind."""
    if isinstance(node, dict):
        return {name: of if name in PAGED else draw(emptied(of)) for name, of in node.items()}
    of = [draw(emptied(each)) for each in node] if isinstance(node, list) else node
    return draw(st.sampled_from([of, of, of, None, type(node)()])) if node is not None else None


@given(st.randoms(use_true_random=False).map(lambda rng: without_some(rng, DATA, PAGED)).flatmap(emptied).filter(bool))
def test_pages_have_no_gap_whoever_sent_the_alert(data):
    typed = {"metric": "", "condition": "", "evidence": {}}
    data |= {name: data[name] or nothing for name, nothing in typed.items() if name in data}
    event: AlertEvent = decode(json.dumps({"data": data}).encode())
    for name, text in texts_of(event.data).items():
        assert text, name
        for part in text.splitlines():
            # What has no shape known here is shown as it is, as JSON.
            assert part.startswith(("{", "[", '"')) or not EMPTY.search(part), part


@given(
    st.sampled_from(["above", "below", "outside"]), maybe, maybe, st.booleans(), st.booleans(), st.booleans(), maybe
)  # fmt: skip
def test_conditions_in_words_have_no_gap(kind, low, high, relative, percent, auto, baseline):
    if not all(of is None or math.isfinite(of) for of in (low, high, baseline)):
        return
    low, high = (None if kind == "above" else low), (None if kind == "below" else high)
    condition = Condition(kind, low, high, relative_to_baseline=relative, percent=percent, auto=auto)
    given = [of for of, wanted in ((low, kind != "above"), (high, kind != "below")) if wanted]
    if None in given and not (auto and given == [None] * len(given)):
        return
    found = limits_of(condition, baseline, None)
    if found is not None:
        sound(found[2])


@given(st.integers(0, 300), st.integers(0, 300), st.booleans(), st.none() | st.floats(0, 1))
def test_notes_on_performance_have_no_gap(labels, predictions, settled, expected):
    record = {"labels": labels, "predictions": predictions, "settled": settled}
    note = performance_note(record | ({} if expected is None else {"expected_coverage": expected}))
    if note is not None:
        sound(note)


@given(
    st.dictionaries(
        st.sampled_from(["performance.accuracy", "performance.brier", "system.latency_ms.mean", "business.revenue.mean"]),
        st.lists(st.one_of(st.sampled_from([0.0, 300.0]), st.floats(0, 1e4)), min_size=16, max_size=16), max_size=4,
    ),
    st.sampled_from([None, "binary", "multiclass", "regression"]),
)  # fmt: skip
def test_reasons_of_comparisons_have_no_gap(found, task):
    contrasts = {path: Contrast(max(weight, 1.0), *rest) for path, (weight, *rest) in found.items()}
    finding = judge_rollout(contrasts, RolloutSpec("rollout", "1d"), task, "m:1")
    sound(finding.reason)
