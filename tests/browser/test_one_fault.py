"""A fault that several models share is one row, and one page that leads to what it did to each."""

from __future__ import annotations

import json

from support.driver import Pipeline
from support.events import START, prediction
from support.page import Browser
from support.serving import fed, running
from tidegauge.console.view import View
from tidegauge.engine.stage import MODELS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

MISSING = MonitorSpec("missing", "data.features.*.missing_ratio", "1m", Condition("above", high=0.3), "critical", min_count=20)
SHARED = ("churn", "credit", "demand", "delays", "fraud")


def said(model: str, feature: str) -> list[Output]:
    """What the stages say of a model whose feature is missing from the sixth minute on."""
    spec = ModelSpec(model, task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(first=60), monitors=(MISSING,))
    pipeline = Pipeline(spec)
    for second in range(8 * 60):
        features = {feature: None if second >= 300 else float(second % 37)}
        event = prediction(second, START + second, model=model, model_version=f"{model}:1", score=0.5, features=features)
        pipeline.send(PREDICTIONS, [json.dumps(event).encode()])
    pipeline.finish()
    return [Output(MODELS, model.encode(), encode(ModelRecord(model, spec))), *pipeline.outputs]


ROW = "#open-incidents-table tr:has(details)"


def test_one_fault_is_acknowledged_silenced_and_noted_in_all_models_from_its_row(browser: Browser) -> None:
    told = [output for model in SHARED for output in said(model, "temp")] + said("alone", "age")
    with running(fed(View(), told)) as console:
        incidents = console.ask("/api/v1/incidents")[2]["incidents"]
        own = {event["data"]["incident"]: event["data"]["model"] for event in incidents}
        browser.open(console.address + "/")
        browser.one(ROW)
        (row,) = [one for one in browser.all(ROW) if "one fault in 5 models" in one.text]
        fold = row.find_element("tag name", "details").get_attribute("id")
        assert "Act on all 5 models" in row.text

        def act(button: str, note: str = "") -> None:
            """Open the row's actions where they are not, write a note, and press."""
            browser.run("document.getElementById(arguments[0]).open = true", fold)
            if note:
                browser.one(f"#{fold} .comment").send_keys(note)
            browser.click(f"#{fold} button[id^={button}-]")

        act("acknowledge", "the feed is down")
        browser.wait(lambda: not browser.all(f"#{fold} button[id^=acknowledge-]"))
        act("silence")
        browser.wait(lambda: not browser.all(f"#{fold} button[id^=silence-]"))
        act("note-it", "it is back at six")
        browser.has("“it is back at six”, local")
        firing = console.ask("/api/v1/alerts?status=firing")[2]["alerts"]
        shared = [one for one in firing if one["event"]["data"]["labels"]["model"] in SHARED]
        assert len(shared) >= len(SHARED)
        assert all(one["acknowledged"]["comment"] == "the feed is down" and "silenced" in one for one in shared)
        assert not any("acknowledged" in one or "silenced" in one for one in firing if one not in shared)
        entries = [line["action"] for line in console.audit()]
        assert entries == ["acknowledge"] * len(shared) + ["silence"] * len(shared) + ["note"]
        for name, model in own.items():
            notes = console.ask(f"/api/v1/incidents/{name}")[2]["notes"]
            assert [note["text"] for note in notes] == (["it is back at six"] if model in SHARED else [])
        one = next(name for name, model in own.items() if model == "demand")
        browser.open(f"{console.address}/#/incidents/{one}")
        browser.has("local: it is back at six")
        assert "acknowledged" in browser.one(".actions").text
        browser.leave()


def test_a_shared_fault_is_one_row_and_leads_to_each_model(browser: Browser) -> None:
    told = [output for model in SHARED for output in said(model, "temp")] + said("alone", "age")
    with running(fed(View(), told)) as console:
        incidents = console.ask("/api/v1/incidents")[2]["incidents"]
        assert len(incidents) == len(SHARED) + 1
        browser.open(console.address + "/")
        rows = browser.rows("#open-incidents-table")
        assert len(rows) == 2
        assert "2 open incidents, in 6 of 6 models" in browser.one("main h1").text
        (shared,) = [row for row in rows if "one fault in 5 models" in row[2]]
        assert " and 2 more" in shared[2]
        assert "temp is missing in every request" in shared[1]
        own = next(event["data"]["incident"] for event in incidents if event["data"]["model"] == "demand")
        browser.open(f"{console.address}/#/incidents/{own}")
        others = {row[1]: row[2] for row in browser.rows("#elsewhere-table")}
        assert set(others) == set(SHARED) - {"demand"}
        assert all("temp is missing" in title for title in others.values())
        assert "and 4 other models" in browser.one(".facts").text
        alone = next(event["data"]["incident"] for event in incidents if event["data"]["model"] == "alone")
        browser.open(f"{console.address}/#/incidents/{alone}")
        browser.one("#timeline")
        assert not browser.all("#elsewhere")
        browser.leave()
