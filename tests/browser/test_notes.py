"""What the model's page says of events that are not what they seem: misread confidences, unreadable numbers, too many names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.driver import Pipeline
from support.events import START
from support.page import Browser
from support.serving import fed, running
from tidegauge.console.view import View
from tidegauge.engine.stage import LABELS, MODELS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import BaselineSpec, ModelSpec, Task


def told(browser: Browser, spec: ModelSpec, said: dict[str, Any], label: Any, business: dict[str, float]) -> str:
    """The text of two tabs of the model's page after 300 requests that were answered so."""
    pipeline = Pipeline(spec)
    for number in range(300):
        request, named = {"request_id": f"r{number}", "ts": START + number}, {"business": {**business, f"order_{number}": 1.0}}
        pipeline.send(PREDICTIONS, [json.dumps(request | {"model_version": "m:1"} | said).encode()])
        pipeline.send(LABELS, [json.dumps(request | {"ts": START + 400, "label": label} | named).encode()])
    pipeline.finish()
    with running(fed(View(), [Output(MODELS, b"m", encode(ModelRecord("m", spec))), *pipeline.outputs])) as console:
        browser.open(console.address + "/#/models/m?tab=performance")
        browser.one("#performance")
        text = browser.text()
        browser.click("#tab-business")
        browser.one("#business")
        text += browser.text()
        browser.leave()
    return text


@pytest.mark.parametrize("first", [100, 1000])
def test_a_misread_confidence_is_told_with_what_to_write(browser: Browser, first: int) -> None:
    spec = ModelSpec("m", task="binary", windows=("1h",), baseline=BaselineSpec(first=first))
    text = told(browser, spec, {"prediction": 0, "confidence": 0.8}, 0, {})
    assert "All 300 negative predictions of this window have a confidence above one half" in text
    assert "it is the predicted class's. The numbers here read it so." in text
    assert "Write confidence_is: predicted in the spec." in text


def test_a_confidence_that_the_spec_insists_on(browser: Browser) -> None:
    spec = ModelSpec("m", task="binary", windows=("1h",), confidence_is="positive")
    text = told(browser, spec, {"prediction": 0, "confidence": 0.8}, 0, {})
    assert "The numbers here read it as the positive class's." in text


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_unreadable_numbers_and_too_many_figures(browser: Browser, task: Task) -> None:
    spec = ModelSpec("m", task=task, windows=("1h",))
    text = told(browser, spec, {"prediction": "12,5"}, "n/a", {"revenue": 2.0})
    sentence = "100.0 % of the labels and 100.0 % of the predictions in the chosen window are no numbers"
    assert (sentence in text) == (task == "regression")
    assert "201 values of the chosen window are left out: the model has too many names of figures." in text
