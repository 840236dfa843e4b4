"""Pages of a model with a thousand features, or with as many alerts, stay small until all of them are asked for."""

from __future__ import annotations

import json

from support.page import Browser
from support.serving import fed, running
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, METRICS, Output

FEATURES = 1000


def test_a_thousand_features_are_shown_forty_at_a_time(browser: Browser, said: list[Output]) -> None:
    output = next(o for o in said if o.topic == METRICS and o.value and b'"data":{"features":{"age"' in o.value)
    record = json.loads(output.value or b"")
    age = record["data"]["features"]["age"]
    record["data"]["features"] = {f"age_{place:04}": age for place in range(FEATURES)}
    view = fed(View(), said[:1])
    view.take(METRICS, [Line(output.key, json.dumps(record).encode())])
    address = f"/#/models/churn?tab=drift&version={record['model_version']}&window={record['window']}"
    with running(view) as console:
        browser.open(console.address + address, width=1440)
        assert 40 <= len(browser.rows("#drift-table")) <= 41
        assert len(browser.rows("#heatmap-table")) == 40
        assert browser.run("return document.getElementsByTagName('*').length") < 4000
        browser.click("#more-measures")
        browser.wait(lambda: len(browser.rows("#drift-table")) >= FEATURES)
        browser.leave()


def test_a_thousand_alerts_are_shown_two_hundred_at_a_time(browser: Browser, said: list[Output]) -> None:
    event = next(json.loads(o.value) for o in said if o.topic == ALERTS and o.value and b'"status":"firing"' in o.value)
    view, lines = fed(View(), said[:1]), []
    for number in range(FEATURES):
        data = event["data"] | {"fingerprint": f"{number:032x}", "status": "firing" if number < 150 else "resolved"}
        lines.append(Line(None, json.dumps(event | {"id": str(number), "data": data}).encode()))
    view.take(ALERTS, lines)
    with running(view) as console:
        browser.open(console.address + "/#/alerts", width=1440)
        rows = browser.rows("#alerts-table")
        assert (len(rows), sum("resolved" in row[0] for row in rows)) == (200, 50)
        assert browser.run("return document.getElementsByTagName('*').length") < 5000
        browser.wait(lambda: browser.one("#firing").text == "150")
        browser.click("#more-alerts")
        browser.wait(lambda: len(browser.rows("#alerts-table")) == FEATURES)
        browser.leave()
