"""What people come with, answered by what is written on the pages, in three clicks or fewer from home."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.page import Browser
from support.serving import Running, fed, running
from support.story import told
from tidegauge.console.view import View
from tidegauge.engine.stage import Output

CLICKS = 3
FIND = """
const [text] = arguments;
const says = (one) => (one.innerText || one.textContent).trim().replace(/\\s+/g, " ");
const shown = [...document.querySelectorAll("main a, main button, main summary")].filter((one) => one.checkVisibility());
return shown.find((one) => says(one) === text) ?? shown.find((one) => says(one).startsWith(text));
"""
TAB = "return document.querySelector('[role=tab][aria-selected=true]')?.innerText"


@pytest.fixture(scope="module")
def story() -> list[Output]:
    return told()


@pytest.fixture(scope="module")
def console(story: list[Output]) -> Iterator[Running]:
    with running(fed(View(), story)) as started:
        yield started


@pytest.mark.parametrize(
    ("question", "clicks", "answers"),
    [
        ("What is broken now, since when?", [], ["open incident", "age is missing in every request since 6 May 2025"]),
        ("Which feature broke first on 6 May?", ["churn", "Drift"],
         ["age went beyond its limit first, by its missing ratio, in the window from 2025-05-06 00:00"]),
        ("How are plans spread now?", ["churn", "plan"], ["Distribution of plan: window, the one before, baseline"]),
        ("What changed at that time?", ["age is missing"], ["mark: release 2.3"]),
        ("What do I do about it?", ["age is missing"], ["Confirm", "Do", "Escalate", "Acknowledge"]),
        ("Is version 4 safe?", ["churn", "Versions"], ["churn_xgb:4 against churn_xgb:3:", "worse"]),
        ("Did late labels change last Tuesday?", ["churn", "Labels"], ["2025-04-29 00:00"]),
        ("Which region is served worse now?", ["churn", "Segments", "Accuracy"], ["region=eu"]),
        ("When was it slow?", ["churn", "System", "As a table"], ["2025-05-03 00:00"]),
        ("How does it differ from the day before?", ["churn", "Compare"], ["(chosen)", "(other)", "may be chance"]),
        ("What was the model trained on?", ["churn", "Lineage"], ["Baselines", "learned"]),
    ],
)  # fmt: skip
def test_a_question_is_answered_in_three_clicks(
    browser: Browser, console: Running, question: str, clicks: list[str], answers: list[str]
) -> None:
    assert len(clicks) <= CLICKS
    browser.open(console.address + "/")
    for text in clicks:
        press(browser, text)
    for answer in answers:
        browser.has(answer)


def press(browser: Browser, text: str) -> None:
    """Click what says so; a tab is waited for."""

    def clicked() -> bool:
        found = browser.run(FIND, text)
        if found is None:
            return False
        browser.run("arguments[0].scrollIntoView({block: 'center'})", found)
        is_tab = found.get_attribute("role") == "tab"
        found.click()
        if is_tab:
            browser.wait(lambda: browser.run(TAB) == text)
        return True

    browser.wait(clicked)


def test_what_the_answers_rest_on(browser: Browser, console: Running) -> None:
    """The rows that answer are the right ones: the late Tuesday alone was restated as much, the slow day alone was slow, and
    ``eu`` comes first when the worst does."""
    browser.open(console.address + "/")
    for text in ("churn", "Labels"):
        press(browser, text)
    moved = {row[0]: row[3] for row in browser.rows("#restated")}
    assert moved["2025-04-29 00:00"] == "0 → 240"
    press(browser, "System")
    press(browser, "As a table")
    slow = [row[0] for row in browser.rows("#chart-system-latency-numbers table") if float(row[2].replace(",", "")) > 200]
    assert slow == ["2025-05-03 00:00"]
    press(browser, "Segments")
    rows = {row[0]: float(row[4].split("\n")[0]) for row in browser.rows("#segments-table") if row[4] != "–"}
    assert rows["region=eu"] < rows["whole model"] < rows["region=us"]


def test_an_incident_is_acknowledged_for_all_to_see_and_silenced(browser: Browser, story: list[Output]) -> None:
    with running(fed(View(), story)) as console:
        for clicks, said in ((["age is missing", "Acknowledge"], "by local"), (["age is missing", "Silence"], "silenced")):
            browser.open(console.address + "/")
            for text in clicks:
                press(browser, text)
            browser.wait(lambda said=said: said in browser.one(".actions").text)
        browser.leave()


def test_a_hundred_models_are_seen_in_few_requests_of_few_bytes(browser: Browser, story: list[Output]) -> None:
    """Home asks a bounded number of things, whose size is a few kilobytes a model, however many records there are."""
    view = View()
    for number in range(100):
        for output in story[1:]:
            key, value = (of and of.replace(b'"churn"', b'"churn_%d"' % number) for of in (output.key, output.value))
            fed(view, [Output(output.topic, key, value)])
    with running(view) as console:
        browser.open(console.address + "/")
        browser.wait(lambda: len(browser.all("#models > tbody > tr")) == 100)
        asked = browser.run(
            "return performance.getEntriesByType('resource').filter(e => e.name.includes('/api/')).map(e => e.name)"
        )
        names = {name.rpartition("/")[2].partition("?")[0] for name in asked}
        assert names <= {"models", "incidents", "fleet", "alerts", "session", "events"}
        sizes = {name: len(json.dumps(console.ask(f"/api/v1/{name}")[2])) for name in ("models", "fleet")}
        assert sizes["fleet"] < 100 * 2_000
        assert sizes["models"] < 100 * 4_000
        sent = "return performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, 0)"
        assert browser.run(sent) < 400_000
        assert browser.run("return document.getElementsByTagName('*').length") < 6_000
        browser.one("#find-model").send_keys("churn_42\n")
        browser.wait(lambda: len(browser.rows("#models")) == 1)
        browser.leave()
