"""A prediction's traceparent header reaches the evidence of the alerts that name its request."""

import json

from hypothesis import given
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS, Record
from tidegauge.engine.traces import traceparent
from tidegauge.spec import Condition, ModelSpec, MonitorSpec

PARENT = "00-{:032x}-00f067aa0ba902b7-01"
SPEC = ModelSpec(
    "churn", task="binary", windows=("1m", "5m"), grace=0.0, segments=(("region",),),
    monitors=(
        MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.05), min_count=10),
        MonitorSpec("brier", "performance.brier", "1m", Condition("above", high=0.3), min_count=10),
    ),
)  # fmt: skip


class Traced(Pipeline):
    """Sends each event with the trace context of its number, where ``traced``."""

    def send_traced(self, topic, events, traced=True):
        records = []
        for event in events:
            headers = (("traceparent", PARENT.format(int(event["request_id"][1:]) + 1).encode()),) if traced else ()
            records.append(Record(self._offset, -1, None, json.dumps(event).encode(), headers))
            self._offset += 1
        self.joins[0].process(topic, records)


def alerts(traced):
    pipeline = Traced(SPEC)
    wrong = [n % 5 == 0 for n in range(60)]
    events = [
        prediction(n, START + n, prediction=1, score=0.02 if wrong[n] else 0.6, error="no memory" if n < 5 else None)
        for n in range(60)
    ]
    pipeline.send_traced(PREDICTIONS, events, traced)
    pipeline.checkpoint()
    pipeline.send(LABELS, [json.dumps({"request_id": f"r{n}", "ts": START + n + 30, "label": 1}).encode() for n in range(60)])
    pipeline.send_traced(PREDICTIONS, [prediction(1000, START + 86400, prediction=1, score=0.5)], traced)
    pipeline.finish()
    return {
        alert["data"]["labels"]["alertname"]: alert["data"]
        for alert in pipeline.of(ALERTS)
        if alert["data"]["status"] == "firing"
    }


def test_examples_of_data_and_of_outcomes_have_their_traces():
    fired = alerts(traced=True)
    assert set(fired) == {"errors", "brier"}
    for data in fired.values():
        evidence = data["evidence"]
        assert evidence["request_ids"]
        assert evidence["traces"] == [
            {"request_id": request_id, "traceparent": PARENT.format(int(request_id[1:]) + 1)}
            for request_id in evidence["request_ids"]
        ]


def test_a_counter_of_failures_names_the_trace_of_one():
    pipeline = Traced(SPEC)
    pipeline.send_traced(
        PREDICTIONS, [prediction(n, START + n, error="no memory" if n == 7 else None, score=0.5) for n in range(20)]
    )
    pipeline.finish()
    (served,) = pipeline.monitor.traffic.values()
    assert (served.errors, served.failed) == (1, f"{8:032x}")


def test_without_headers_there_are_none():
    assert all("traces" not in data["evidence"] for data in alerts(traced=False).values())


@given(st.binary(max_size=80))
def test_other_headers_are_passed_over(value):
    found = traceparent([("other", b"x"), ("traceparent", value)])
    assert found is None or found.encode() == value[:55]


def test_the_invalid_ones_of_the_standard():
    assert traceparent([("traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01")]) is None
    assert traceparent([("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01")]) is None
    assert traceparent([("traceparent", None)]) is None
