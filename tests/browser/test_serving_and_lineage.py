"""What predictions say of the process that served them, and what a registry says of versions, as the pages show it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from support.page import Browser
from support.serving import fed, running
from tidegauge.alert.operations import OPERATIONS, Mark
from tidegauge.alert.operations import encode as encode_operation
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, MODELS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import Condition, Lineage, MonitorSpec

MEMORY = MonitorSpec("memory", "system.memory_ratio.p95", "1m", Condition("above", high=0.85), min_count=20)
RUN = "https://mlflow.example/#/experiments/0/runs/3f2a"
SERVED = replace(SPEC, monitors=(MEMORY,), lineage=Lineage("3f2a", "9fceb02", "s3://data/churn@1", RUN))
PAGE = "/#/models/churn?version=churn_xgb:4&window=1m&last=5000"


@pytest.fixture(scope="module")
def served() -> list[Output]:
    """Five minutes of two versions, of which the second has ever more memory."""
    pipeline = Pipeline(SERVED)
    for version in (3, 4):
        events = [
            prediction(number, START + number, prediction=1, score=0.5, features={"age": number % 7})
            | {"model_version": f"churn_xgb:{version}"}
            | {
                "resources": {
                    "cpu_ratio": 0.2 + number % 10 / 20,
                    "memory_ratio": number / 300,
                    "memory_bytes": 2.0**20 * number,
                }
            }
            for number in range(300)
        ]
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
    pipeline.finish()
    return [Output(MODELS, b"churn", encode(ModelRecord("churn", SERVED))), *pipeline.outputs]


def records(served: list[Output]) -> list[dict[str, Any]]:
    found = [json.loads(of.value or b"") for of in served if of.topic == "metrics"]
    own = {
        r["window_start"]: r for r in found if r.get("window") == "1m" and r["model_version"][-1] == "4" and not r["segment"]
    }
    return [own[start] for start in sorted(own)]


def test_cpu_and_memory_of_the_service_by_window(browser: Browser, served: list[Output]) -> None:
    with running(fed(View(), served)) as console:
        browser.open(f"{console.address}{PAGE}&tab=system")
        for name, of, form in (
            ("cpu-ratio", "cpu_ratio", lambda value: f"{value * 100:.1f} %"),
            ("memory-bytes", "memory_bytes", lambda value: f"{float(f'{value / 2**20:.4g}'):.10g}"),
        ):
            browser.click(f"#chart-system-{name}-numbers summary")
            rows = {row[0]: row[1:] for row in browser.rows(f"#chart-system-{name}-numbers table")}
            for record in records(served):
                wanted = [form(record["system"][of][part]) for part in ("p50", "p95", "max")]
                assert rows[record["window_start"][:16].replace("T", " ")] == wanted
        assert browser.all("#chart-system-gpu-ratio") == []
        browser.leave()


def test_an_alert_links_the_run_that_trained_its_version(browser: Browser, served: list[Output]) -> None:
    mark = next(json.loads(of.value or b"")["data"]["fingerprint"] for of in served if of.topic == ALERTS)
    with running(fed(View(), served)) as console:
        browser.open(f"{console.address}/#/alerts/{mark}")
        browser.has("CPU, memory or GPU of the processes")
        facts = {row.text.split("\n")[0]: row.text.split("\n")[1] for row in browser.all(".facts > div")}
        assert {"Run": "3f2a", "Code": "9fceb02", "Data": "s3://data/churn@1"}.items() <= facts.items()
        assert browser.one(f".facts a[href='{RUN}']").text == "3f2a"
        browser.leave()


def test_compare_begins_with_the_version_that_served_before(browser: Browser, served: list[Output]) -> None:
    view = fed(View(), served)
    with running(view) as console:
        browser.open(f"{console.address}{PAGE}&tab=compare")
        assert browser.one("#choose-with-version").get_property("value") == "churn_xgb:4"
        browser.leave()
    moved = Mark("m", "champion of churn moves from version 3 to 4", START + 60, "MLflow", START + 60, "churn", "4", "3")
    view.take(OPERATIONS, [Line(moved.key, encode_operation(moved))])
    with running(view) as console:
        browser.open(f"{console.address}{PAGE}&tab=compare")
        assert browser.one("#choose-with-version").get_property("value") == "churn_xgb:3"
        browser.has("churn_xgb:3")
        browser.leave()
