"""What a page is on paper, while it is asked for, and to somebody without a mouse; a category's values over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from support.page import Browser
from support.serving import Running, fed, running
from support.story import told
from tidegauge.console.view import View

PAPER = 718
"""Pixels between the margins of a sheet of A4."""
DRAWN = "return [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('canvas'))"
PLOTS = "return [...document.querySelectorAll('.plot .u-wrap')].map((plot) => plot.getBoundingClientRect())"


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    with running(fed(View(), told())) as started:
        yield started


@pytest.mark.parametrize("tab", ["overview", "performance", "drift", "labels"])
def test_a_printed_page_is_light_and_nothing_is_cut_off(browser: Browser, console: Running, tab: str) -> None:
    browser.open(f"{console.address}/#/models/churn?tab={tab}", width=1440, scheme="dark")
    browser.one("#panel")
    browser.wait(lambda: browser.run(DRAWN))
    before = browser.run(PLOTS)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    command = browser.driver.execute_cdp_cmd
    command("Emulation.setEmulatedMedia", {"media": "print"})
    command("Emulation.setDeviceMetricsOverride", {"width": PAPER, "height": 1000, "deviceScaleFactor": 1, "mobile": False})
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    plots = browser.run(PLOTS)
    assert len(plots) == len(before) > 1
    assert all(plot["width"] > 300 and plot["right"] <= PAPER for plot in plots)
    assert browser.run("return document.documentElement.scrollWidth") <= PAPER
    command("Emulation.setEmulatedMedia", {"media": ""})
    command("Emulation.setDeviceMetricsOverride", {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    browser.wait(lambda: browser.run(PLOTS) == before)
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    browser.leave()


def test_a_page_that_is_waited_for_says_so(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/")
    browser.one("#models")
    browser.run("""
      const ask = window.fetch;
      window.answers = new Promise((go) => { window.letGo = go; });
      window.fetch = (...asked) => window.answers.then(() => ask(...asked));
    """)
    browser.click("#pages a[href='#/alerts']")
    assert browser.run("return document.getElementById('main').getAttribute('aria-busy')") == "true"
    assert not browser.all("#alerts-table")
    browser.run("window.letGo()")
    browser.one("#alerts-table")
    assert browser.run("return document.getElementById('main').hasAttribute('aria-busy')") is False
    browser.leave()


def test_the_chosen_window_is_stepped_by_keyboard(browser: Browser, console: Running) -> None:
    browser.open(f"{console.address}/#/models/churn?tab=segments")
    times = [record["window_start"] for record in windows(console)]
    assert not browser.one("#window-later").is_enabled()
    for back in (2, 3):
        browser.run("document.getElementById('window-earlier').focus()")
        browser.press(Keys.ENTER)
        browser.wait(lambda back=back: times[-back].replace(":", "%3A") in browser.driver.current_url)
        browser.wait(lambda back=back: times[-back] == browser.one(".controls time").get_attribute("datetime"))
    browser.leave()


def test_the_shares_of_a_categorys_values_over_time_are_the_records(browser: Browser, console: Running) -> None:
    browser.open(f"{console.address}/#/models/churn?tab=drift&feature=plan", width=1440)
    browser.click("#chart-shares-numbers summary")
    rows = browser.rows("#chart-shares-numbers table")
    heads = browser.run("return [...document.querySelectorAll('#chart-shares-numbers th.number')].map((one) => one.innerText)")
    values = console.ask("/api/v1/models/churn/distributions?version=churn_xgb:3")[2]["features"]["plan"]["values"]
    assert sorted(heads) == sorted(values) == ["a", "b", "c"]
    for row, record in zip(rows, windows(console), strict=True):
        counts = record["data"]["features"]["plan"]["bin_counts"]
        expected = [100 * counts[values.index(name)] / sum(counts) for name in heads]
        assert [float(cell.removesuffix(" %")) for cell in row[1:]] == pytest.approx(expected, abs=0.051)
    browser.leave()


def windows(console: Running) -> list[dict[str, Any]]:
    path = "/api/v1/models/churn/windows?version=churn_xgb:3&window=1d&limit=100"
    records: list[dict[str, Any]] = console.ask(path)[2]["records"]
    return records
