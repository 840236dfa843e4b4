"""Pages of records of which anything may be missing: no error, no gap, no word that a program says for nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from support.page import Browser
from support.sentences import EMPTY, without_some
from support.serving import Running, fed, running
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, INCIDENTS, METRICS, Output

PROMISED = frozenset((
    "model", "model_version", "segment", "window", "window_start", "window_end", "revision", "closed", "reason", "predictions",
    "labels", "settled", "system", "data", "prediction", "features", "kind", "source", "region", "champion", "since", "verdict",
    "windows", "role", "monitor", "shared_requests", "metrics", "challenger",
))  # fmt: skip
"""What the schemas promise of every record."""
TEXTS = """
return [...document.querySelectorAll("p, li, h1, h2, h3, td, th, dt, dd, summary, button, caption, figcaption, option")]
    .filter((one) => one.checkVisibility() && !one.querySelector("pre"))
    .map((one) => one.innerText.replace(/\\s+/g, " ").trim())"""
TABS = ("performance", "drift", "segments", "labels", "versions", "compare", "system", "business", "lineage")
MODEL = ("/#/models/churn", *(f"/#/models/churn?segment=region%3Deu&tab={tab}" for tab in TABS))
PAGES = ("/", *MODEL, "/#/alerts", "/#/incidents", "/#/stream", "/#/silences")


@pytest.fixture(
    scope="module",
    params=[(1, 0.3), *(pytest.param(of, marks=pytest.mark.long) for of in ((2, 0.6), (3, 1.0)))],
    ids=lambda of: f"{of[1]:.0%} gone",
)
def lacking(request: pytest.FixtureRequest, said: list[Output]) -> Iterator[Running]:
    """A console that has read the records less a share of their members."""
    seed, share = request.param
    rng = random.Random(seed)

    def of(output: Output) -> Output:
        if output.topic != METRICS or not output.value:
            return output
        left = without_some(rng, json.loads(output.value), PROMISED, share)
        return replace(output, value=json.dumps(left).encode())

    with running(fed(View(), [of(output) for output in said])) as started:
        yield started


def test_no_page_has_a_gap_whatever_records_lack(browser: Browser, lacking: Running, said: list[Output]) -> None:
    marks = sorted({json.loads(o.value or b"")["data"]["fingerprint"] for o in said if o.topic == ALERTS})
    names = sorted({json.loads(o.value or b"")["data"]["incident"] for o in said if o.topic == INCIDENTS})
    alerts = [f"/#/alerts/{mark}" for mark in marks]
    for page in (*PAGES, *alerts, *(f"/#/incidents/{name}" for name in names)):
        browser.open(lacking.address + page)
        browser.wait(lambda: browser.all("main h1") and not browser.all("main .loading"))
        for text in browser.driver.execute_script(TEXTS):
            assert not EMPTY.search(text), (page, text)
        assert browser.complaints() == [], page
