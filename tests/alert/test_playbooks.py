"""Every metric and detector stream has its playbook, every playbook a kind of alert, and alerts point to theirs."""

import json
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.alert.playbooks import DIRECTORY, PAGES, STREAM_HEALTH, STREAMS, page_of
from tidegauge.engine.stage import ALERTS, PREDICTIONS
from tidegauge.judge.metric_names import TREE, _candidates, metric_mistake
from tidegauge.metrics.fairness import MEASURES
from tidegauge.models.default_monitors import default_monitors
from tidegauge.spec import Condition, DetectorSpec, ModelSpec, MonitorSpec

ROOT = Path(__file__).parents[2]
METRICS = sorted(_candidates(TREE, []))
FILES = sorted((ROOT / DIRECTORY).glob("*.md"))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_page(metric):
    assert (ROOT / DIRECTORY / f"{page_of(metric)}.md").exists()


def test_the_page_for_all_others_is_that_of_the_labels_alone():
    left_over = {metric for metric in METRICS if page_of(metric) == PAGES[-1][1]}
    assert left_over == {"coverage", "expected_coverage", "implied_labels", "label_feed.coverage_gap", "labels"}


def test_every_detector_stream_has_a_page():
    assert set(get_args(get_type_hints(DetectorSpec)["stream"])) == STREAMS.keys()
    assert {path.stem for path in FILES} >= set(STREAMS.values())


def test_no_page_is_left_over_and_none_lacks():
    assert {path.stem for path in FILES} == {page for _, page in PAGES} | set(STREAM_HEALTH)


@pytest.mark.parametrize("page", FILES, ids=lambda path: path.stem)
def test_a_page_says_what_it_means_how_to_confirm_what_to_do_and_when_to_escalate(page):
    text = page.read_text()
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE)[1:] == ["Confirm", "Do", "Escalate"]
    meaning, confirm, do, escalate = (
        part.split("\n", 1)[1].strip() for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]
    )
    assert all((meaning, do, escalate))
    assert "`" in confirm, "an exact query, page or command"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_default_monitors_watch_metrics_that_are(task):
    for monitor in default_monitors(ModelSpec("m", task=task), None):
        assert metric_mistake(monitor.metric, task) is None


@pytest.mark.parametrize(
    ("runbook", "expected"), [(None, f"{DIRECTORY}/error-ratio.md"), ("https://example.com/mine", "https://example.com/mine")]
)
def test_an_alert_points_to_its_playbook_or_the_spec_s_own(runbook, expected):
    errors = MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), runbook=runbook, min_count=10)
    spec = ModelSpec("churn", task="binary", windows=SPEC.windows, monitors=(errors,))
    pipeline = Pipeline(spec)
    pipeline.send(PREDICTIONS, [json.dumps(prediction(n, START + n, error="no memory")).encode() for n in range(20)])
    pipeline.finish()
    (alert,) = pipeline.of(ALERTS)
    assert alert["data"]["annotations"]["runbook_url"] == expected


@pytest.mark.parametrize("page", FILES, ids=lambda path: path.stem)
def test_a_playbook_asks_for_metrics_that_are(page):
    """Each query of a playbook names a metric of the document, or a member of one of its families."""
    operations = (ROOT / "docs/operations.md").read_text()
    told = set(re.findall(r"tidegauge_[a-z_]+", operations + (ROOT / "docs/monitoring.md").read_text()))
    for line in operations.splitlines():
        first, *ends = re.findall(r"`(tidegauge_[a-z_]+|_[a-z_]+)`", line) or [""]
        told |= {f"{first.rpartition('_')[0]}{end}" for end in ends if end.startswith("_")}
    members = {f"tidegauge_performance_{m}" for m in ("recall", "precision", "accuracy")}
    members |= {f"tidegauge_fairness_{measure}_gap" for measure in MEASURES}
    for name in re.findall(r"tidegauge_[a-z_]+", page.read_text()):
        assert name in told | members or re.sub("_(bucket|sum|count)$", "", name) in told, name
