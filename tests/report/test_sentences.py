"""Reports and cards of records of which anything may be missing have no gap where a number was to stand."""

from __future__ import annotations

import json
import random

import pytest

from support.driver import Pipeline
from support.events import START, stream
from support.sentences import EMPTY, visible, without_some
from tidegauge.engine.stage import ALERTS, METRICS
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.report import card_page, model_card, page
from tidegauge.report.archive import Archive
from tidegauge.report.build import build
from tidegauge.report.period import Period
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

KEPT = frozenset((
    "model", "model_version", "segment", "window", "window_start", "window_end", "revision", "closed", "reason", "predictions",
    "labels", "settled", "system", "data", "prediction", "features", "kind", "source", "region",
))  # fmt: skip
"""What the schema promises of every record, and the names of segments."""


@pytest.fixture(scope="module")
def said():
    """Records and alerts of a small stream, of two versions, before and after a baseline is learned."""
    spec = ModelSpec(
        "churn", segments=(("region",),), windows=("5m",), grace=0.0, baseline=BaselineSpec(first=150),
        monitors=(MonitorSpec("share", "prediction.positive_ratio", "5m", Condition("above", high=0.1), min_count=10),),
    )  # fmt: skip
    pipeline = Pipeline(spec)
    for topic, value in stream(3, count=600, minutes=30.0):
        pipeline.send(topic, [value])
    pipeline.finish()
    assert pipeline.of(ALERTS)
    return [record for record in pipeline.of(METRICS) if "kind" not in record], pipeline.of(ALERTS)


def sound(texts):
    for text in texts:
        assert not EMPTY.search(text), text


@pytest.mark.parametrize("seed", range(40))
def test_reports_and_cards_have_no_gap_whatever_is_missing(said, seed):
    records, alerts = said
    rng = random.Random(seed)
    archive = Archive("churn", START - 86400.0, START + 86400.0)
    whole = rng.choice([record for record in records if not record["segment"]])
    for record in (*rng.sample(records, rng.randint(1, 12)), whole):
        archive.add_metric(json.dumps(without_some(rng, record, KEPT, rng.choice([0.0, 0.3, 0.9, 1.0]))).encode())
    for event in alerts[: rng.randint(0, len(alerts))]:
        archive.add_alert(json.dumps(event).encode())
    period = Period(START, START + 1800.0)
    report = build(archive, "churn", period, None)
    earlier = json.loads(json.dumps(report))
    for entry in earlier["ledger"]:
        entry["revision"] -= 1
    for made in (report, build(archive, "churn", period, earlier)):
        sound(visible(page.render(made)))
    registry = Registry()
    registry.apply(b"churn", encode(ModelRecord("churn", ModelSpec("churn", task=rng.choice([None, "binary"])))))
    card = model_card.build_card(archive, registry, "churn", None)
    sound(card["limits"])
    sound(visible(card_page.page(card)))
