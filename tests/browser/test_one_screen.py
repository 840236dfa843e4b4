"""A laptop shows each tab of a model at once, and names of marks lie beside each other above plots."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from support.page import Browser
from support.serving import Running, fed, running
from support.story import FIRST_DAY, WATCHED, told
from tidegauge.console.view import View
from tidegauge.engine.stage import MODELS, Output
from tidegauge.models.registry import ModelChange, ModelRecord, encode

TABS = ("overview", "performance", "drift", "segments", "labels", "versions", "compare", "system", "business", "lineage")
DRAWN = "return [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('canvas'))"
SIZE = "const page = document.documentElement; return [page.scrollWidth, page.scrollHeight]"
BELOW = """
const parts = [...document.querySelectorAll('main h2, main figure, main table')];
return parts.filter((one) => one.checkVisibility()).filter((one) => {
  const pane = (of) => of && (/auto|scroll/.test(getComputedStyle(of).overflowY) ? of : pane(of.parentElement));
  return !pane(one.parentElement) && one.getBoundingClientRect().bottom > innerHeight;
}).map((one) => one.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    with running(fed(View(), told())) as started:
        yield started


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1366, 768)])
def test_each_tab_of_a_model_is_one_screen(browser: Browser, console: Running, width: int, height: int) -> None:
    """The page does not scroll, and what lies in no pane that scrolls is seen whole."""
    for tab in TABS:
        browser.open(f"{console.address}/#/models/churn?tab={tab}", width=width, height=height)
        browser.one("#panel")
        browser.wait(lambda: browser.run(DRAWN))
        assert browser.run(SIZE) == [width, height], tab
        assert browser.run(BELOW) == [], tab
    browser.leave()


def test_a_name_of_a_mark_is_above_its_plot_and_told_when_pointed_at(browser: Browser, console: Running) -> None:
    (mark,) = console.ask("/api/v1/models/churn")[2]["marks"]
    browser.open(f"{console.address}/#/models/churn?tab=performance&last=5000", width=1440)
    browser.one("#chart-performance-accuracy canvas")
    room, title = browser.run(
        "const {plot} = document.querySelector('#chart-performance-accuracy .plot');"
        "plot.setCursor({left: plot.valToPos(Date.parse(arguments[0]) / 1000, 'x'), top: 20});"
        "return [plot.bbox.top / devicePixelRatio, plot.over.title];", mark["time"],
    )  # fmt: skip
    assert room > 20
    assert mark["text"] in title
    browser.leave()


def test_what_changed_of_a_spec_stands_in_words_and_above_plots(browser: Browser) -> None:
    said = told()
    at = FIRST_DAY + 5 * 86400.0
    text = "monitor accuracy (performance.accuracy): below 0.7 → below 0.6"
    changed = encode(ModelRecord("churn", WATCHED, {}, (ModelChange(at, "bob", "spec", text),)))
    with running(fed(View(), [*said, Output(MODELS, b"churn", changed)])) as console:
        browser.open(f"{console.address}/#/models/churn?tab=versions", width=1440)
        listed = [item.text for item in browser.one("#what-changed").find_elements("tag name", "li")]
        assert listed == [
            "2025-05-05 23:00 release 2.3, by ann", f"2025-05-03 00:00 spec: {text}, by bob",
            "2025-04-28 00:00 churn_xgb:4 begins",
        ]  # fmt: skip
        browser.click("#tab-performance")
        browser.one("#chart-performance-accuracy canvas")
        title = browser.run(
            "const {plot} = document.querySelector('#chart-performance-accuracy .plot');"
            "plot.setCursor({left: plot.valToPos(arguments[0], 'x'), top: 20}); return plot.over.title;", at,
        )  # fmt: skip
        assert f"spec: {text}" in title
        browser.leave()


PLACED = """
const [cases, done] = arguments;
import("./marks.js").then(({placed}) => done(cases.map(([marks, left, right]) =>
  placed(marks.map(([place, name]) => ({place, name})), left, right, (text) => text.length * 6))));
"""


def test_names_of_marks_never_overlap_and_never_leave_the_plot(browser: Browser, console: Running) -> None:
    rng = random.Random(5)
    cases = [case(rng) for _ in range(400)]
    browser.open(console.address + "/")
    browser.one("main h1")
    written: list[list[dict[str, Any]]] = browser.driver.execute_async_script(PLACED, cases)
    for (marks, left, right), names in zip(cases, written, strict=True):
        ends = [(name["from"], name["from"] + 6 * len(name["text"])) for name in names]
        assert all(left <= start and end <= right for start, end in ends)
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))
        if len(marks) == 1 and right - left > 2 * 6 * len(marks[0][1]) + 20:
            assert [name["text"] for name in names] == [marks[0][1]]
    browser.leave()


def case(rng: random.Random) -> tuple[list[tuple[int, str]], int, int]:
    """Marks at places between the left and the right edge of a plot, each with a name."""
    left, width = rng.randint(0, 60), rng.randint(60, 900)
    marks = [
        (rng.randint(left, left + width), "release 2.3 of the churn model"[: rng.randint(1, 30)])
        for _ in range(rng.randint(1, 9))
    ]
    return marks, left, left + width
