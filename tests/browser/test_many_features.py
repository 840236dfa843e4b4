"""Pages of a model with a thousand features stay small until all of them are asked for."""

from __future__ import annotations

import json

from support.page import Browser
from support.serving import fed, running
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import METRICS, Output

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
