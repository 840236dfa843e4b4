"""A spec names the schemas of its predictions: another one is a schema break, with an alert, while a baseline is learned and
after."""

import json
from collections import Counter

import msgspec
import pytest

from support import framed
from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, PREDICTIONS, Record
from tidegauge.serdes.registered_schema import RegisteredSchema
from tidegauge.spec import BaselineSpec

MINUTES, EACH = 6, 240
NAME = "schema 3 of the registry"


def play(schemas, schema_of):
    """Six minutes of predictions, each in the schema that ``schema_of`` says of its minute and number; None is plain JSON."""
    pipeline = Pipeline(msgspec.structs.replace(SPEC, schemas=schemas, baseline=BaselineSpec(first=2 * EACH)))
    decoding = framed.knowing(*[RegisteredSchema("JSON", "{}")] * 3)
    for minute in range(MINUTES):
        records = []
        for number in range(EACH):
            ts = START + 60 * minute + number / 5
            event = prediction(minute * EACH + number, ts, prediction=number % 2, score=0.5, features={"age": number % 40})
            value, schema = json.dumps(event).encode(), schema_of(minute, number)
            records.append(Record(len(records), -1, None, value if schema is None else framed.framed(schema, value)))
        pipeline.joins[0].process(PREDICTIONS, decoding.decoded(records))
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline


def unexpected(pipeline):
    """By minute, what the records of the whole model say."""
    found = [record for record in pipeline.records().values() if record["window"] == "1m" and not record["segment"]]
    return [record["data"]["unexpected_features"] for record in sorted(found, key=lambda record: record["window_start"])]


@pytest.mark.parametrize("minute", [0, 4])
@pytest.mark.parametrize("count", [1, EACH])
def test_another_schema_is_an_unexpected_feature_and_an_alert(minute, count):
    pipeline = play((1, 2), lambda m, n: 3 if m == minute and n < count else (1, 2, None)[n % 3])
    wanted = [[] for _ in range(MINUTES)]
    wanted[minute] = [NAME]
    assert unexpected(pipeline) == wanted
    fired = Counter(
        (alert["data"]["status"], alert["data"]["labels"]["alertname"])
        for alert in pipeline.of(ALERTS)
        if NAME in json.dumps(alert)
    )
    assert fired["firing", "unexpected-feature"] == 1
    for record in pipeline.records().values():
        assert set(record["data"]["features"]) == {"age"}
        assert record["data"].get("missing_features", []) == []


def test_without_a_word_of_the_spec_any_schema_will_do():
    assert unexpected(play((), lambda m, n: (1, 2, 3, None)[n % 4])) == [[]] * MINUTES
