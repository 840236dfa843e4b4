"""Whatever producers and specs say is text: names, versions, segments, categories, request ids, runbooks and dead letters that
would be markup or a script do nothing in a real browser, on any page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from support.driver import Pipeline
from support.events import stream
from support.page import Browser
from support.serving import MONITORS, WATCHED, Running, fed, running
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, MODELS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, encode

EVIL = "<img src=x onerror=window.owned=1><script>window.owned=2</script>\"'><svg onload=window.owned=3>{{7*7}}${7*7}"
SCRIPT = "javascript:window.owned=4"
MODEL = f"m{EVIL}"
SPEC = replace(
    WATCHED,
    model=MODEL,
    monitors=tuple(replace(monitor, name=f"{monitor.name}{EVIL}"[:200], runbook=SCRIPT) for monitor in MONITORS),
)
TABS = ("", *(f"?tab={name}" for name in ("performance", "drift", "segments", "versions", "lineage")))
PAGES = (
    "/", "/#/incidents", "/#/alerts", "/#/silences", "/#/stream",
    *(f"/#/models/{quote(MODEL, safe='')}{tab}" for tab in TABS),
)  # fmt: skip
TRACES = """
return [...document.querySelectorAll("*")].filter(e => [...e.attributes].some(a => a.name.startsWith("on")
  || (["href", "src", "action"].includes(a.name) && /^\\s*javascript:/i.test(a.value)))).map(e => e.outerHTML.slice(0, 200));
"""


def hostile(event: dict[str, Any]) -> dict[str, Any]:
    """The event, with markup wherever a producer may say what it likes."""
    event["request_id"] += EVIL
    if "features" in event:
        event["model"], event["model_version"] = MODEL, event["model_version"] + EVIL
        event["features"] = {name + (EVIL if name != "age" else ""): value + EVIL if isinstance(value, str) else value
                             for name, value in event["features"].items()}  # fmt: skip
        event["segments"] = {name: value + EVIL for name, value in event["segments"].items()}
    return event


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    pipeline = Pipeline(SPEC)
    events = stream(1)
    for place in range(0, len(events), 25):
        for topic, value in events[place : place + 25]:
            assert topic in (PREDICTIONS, LABELS)
            pipeline.send(topic, [json.dumps(hostile(json.loads(value))).encode()])
        pipeline.checkpoint()
    pipeline.finish()
    said = [Output(MODELS, MODEL.encode(), encode(ModelRecord(MODEL, SPEC))), *pipeline.outputs]
    view = fed(View(), said)
    raw = EVIL.encode()
    headers = (("reason", raw), ("message", raw), ("topic", raw), ("partition", raw), ("offset", raw))
    view.take(DEAD_LETTERS, [Line(raw, raw, headers, 1_700_000_000_000)] * 3)
    with running(view) as started:
        yield started


def harmless(browser: Browser) -> None:
    """All that can be opened is open, and nothing of it has become more than text."""
    browser.run("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    assert browser.run(TRACES) == []
    assert browser.run("return window.owned") is None


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_text(browser: Browser, console: Running, path: str) -> None:
    browser.open(console.address + path)
    browser.one("main h1")
    browser.has("window.owned" if path not in ("/#/silences",) else "Silences")
    harmless(browser)


def test_an_alert_and_its_incident_are_text_and_its_runbook_no_link(browser: Browser, console: Running) -> None:
    alerts = console.ask("/api/v1/alerts")[2]["alerts"]
    incidents = console.ask("/api/v1/incidents")[2]["incidents"]
    assert alerts
    assert incidents
    for path in (f"/#/alerts/{alerts[0]['event']['data']['fingerprint']}", f"/#/incidents/{incidents[0]['data']['incident']}"):
        browser.open(console.address + path)
        browser.has("window.owned")
        harmless(browser)
    browser.open(f"{console.address}/#/alerts/{alerts[0]['event']['data']['fingerprint']}")
    browser.has(SCRIPT)
    assert not browser.all("#playbook a")
