"""An alert names what trained its version: run, commit and data, of the baseline or else of the spec, for all who show it."""

import json

import msgspec
import pytest

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from support.schemas import mistakes
from tidegauge.alert import paging
from tidegauge.engine.stage import ALERTS, METRICS, PREDICTIONS
from tidegauge.report.archive import Archive
from tidegauge.report.build import build
from tidegauge.report.page import render
from tidegauge.report.period import Period
from tidegauge.spec import Condition, Lineage, MonitorSpec

MONITOR = MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), min_count=20)
DAY = 86400.0


def alerts(lineage):
    """The events of an alert that fires and resolves, of a model with this lineage, and all the stages' outputs."""
    pipeline = Pipeline(msgspec.structs.replace(SPEC, monitors=(MONITOR,), lineage=lineage))
    events = [prediction(n, START + n, prediction=1, error="no memory" if n < 60 else None) for n in range(300)]
    pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
    pipeline.finish()
    found = pipeline.of(ALERTS)
    assert [event["data"]["status"] for event in found] == ["firing", "resolved"]
    return found, pipeline.outputs


def page(outputs, registry=None):
    """The report of the day, as a page; ``registry``: the specs, where it may read them."""
    archive = Archive("churn", START, START + DAY)
    if registry is not None:
        archive.specs = registry
    for output in outputs:
        if output.topic == METRICS:
            archive.add_metric(output.value)
        elif output.topic == ALERTS:
            archive.add_alert(output.value)
    return render(build(archive, "churn", Period(START, START + DAY), None))


@pytest.mark.parametrize("url", ["https://mlflow.example/#/experiments/0/runs/3f2a", "javascript:alert(1)", None])
def test_alert_page_and_report_name_run_commit_and_data(url):
    found, outputs = alerts(Lineage("3f2a", "9fceb02", "s3://data/churn@1", url, {"depth": "4"}))
    wanted = {"run_id": "3f2a", "commit": "9fceb02", "data_snapshot": "s3://data/churn@1"} | ({"url": url} if url else {})
    for event in found:
        assert event["data"]["lineage"] == wanted
        assert mistakes("alert", event) == []
    texts = paging.texts_of(paging.decode(json.dumps(found[0]).encode()).data)
    assert {"run": "3f2a", "commit": "9fceb02", "data_snapshot": "s3://data/churn@1"}.items() <= texts.items()
    assert texts.get("run_url") == url
    shown = page(outputs)
    assert "commit 9fceb02" in shown
    assert "data s3://data/churn@1" in shown
    assert ('<a href="https://mlflow.example' in shown) == (url is not None and url.startswith("https"))
    assert "javascript:alert" not in shown.split("<h2>Alerts</h2>")[1].split("</table>")[0].replace("&", "")


@pytest.mark.parametrize(
    ("lineage", "said"),
    [
        (Lineage(commit="9fceb02"), '<span class="note">commit 9fceb02'),
        (Lineage("3f2a"), '<span class="note">run 3f2a'),
        (Lineage(data_snapshot="s3://data"), '<span class="note">data s3://data'),
    ],
)
def test_what_is_known_alone_is_said_alone(lineage, said):
    found, outputs = alerts(lineage)
    assert mistakes("alert", found[0]) == []
    assert said in page(outputs)


def test_where_nothing_is_known_nothing_is_said():
    found, outputs = alerts(Lineage())
    assert all("lineage" not in event["data"] for event in found)
    assert "commit" not in page(outputs).split("<h2>Alerts</h2>")[1].split("</table>")[0]


def test_a_report_names_what_trained_each_version_where_it_may_read_the_specs():
    spec = msgspec.structs.replace(SPEC, lineage=Lineage("3f2a", "9fceb02", None, "https://mlflow.example/run"))
    pipeline = Pipeline(spec)
    pipeline.send(PREDICTIONS, [json.dumps(prediction(n, START + n, prediction=1)).encode() for n in range(100)])
    pipeline.finish()
    shown = page(pipeline.outputs, pipeline.registry)
    assert 'Trained by run <a href="https://mlflow.example/run">3f2a</a> commit 9fceb02' in shown
    assert "Trained by" not in page(pipeline.outputs)
