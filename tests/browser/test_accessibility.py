"""Every page, judged by axe-core: nothing serious, in light and dark, and on a phone."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from support.page import Browser
from support.serving import Running

TABS = ("performance", "drift", "segments", "labels", "versions", "compare", "system", "business", "lineage")
PAGES = ("/", "/#/models/churn", *(f"/#/models/churn?tab={tab}" for tab in TABS), "/#/incidents", "/#/alerts", "/#/silences",
         "/#/stream")  # fmt: skip
AXE = resources.files("axe_core_python").joinpath("axe.min.js")
RUN = """
const done = arguments[arguments.length - 1];
axe.run().then(({violations}) => done(violations.filter(({impact}) => ["serious", "critical"].includes(impact))
  .map(({id, nodes}) => [id, nodes.map((node) => node.html.slice(0, 200))])));
"""


def found(browser: Browser) -> Any:
    browser.run(AXE.read_text("utf-8"))
    return browser.driver.execute_async_script(RUN)


def paths(console: Running) -> list[str]:
    incident = console.ask("/api/v1/incidents")[2]["incidents"][0]["data"]["incident"]
    alert = console.ask("/api/v1/alerts")[2]["alerts"][0]["event"]["data"]["fingerprint"]
    return [*PAGES, f"/#/incidents/{incident}", f"/#/alerts/{alert}"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious_on_any_page(browser: Browser, console: Running, scheme: str, width: int) -> None:
    serious = {}
    for path in paths(console):
        browser.open(console.address + path, width=width, scheme=scheme)
        browser.one("main h1")
        serious[path] = found(browser)
    assert {path: of for path, of in serious.items() if of} == {}


def test_axe_finds_what_is_wrong(browser: Browser, console: Running) -> None:
    """That it looks at all: a field without a name."""
    browser.open(console.address + "/")
    browser.one("main h1")
    browser.run("document.querySelector('main').append(document.createElement('input'))")
    assert [name for name, _ in found(browser)] == ["label"]
