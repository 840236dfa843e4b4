"""How the pages are used: two clicks, the keyboard, a phone, light and dark, signing in, acknowledging."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from selenium.webdriver.common.keys import Keys

from support.hooks import Receiver
from support.page import Browser
from support.serving import WATCHED, Running, fed, running
from tidegauge.console.access import DECIDE, SILENCE, Access
from tidegauge.console.view import View
from tidegauge.engine.stage import MODELS, Output
from tidegauge.models.registry import ModelRecord, encode

TOKEN = "0123456789abcdef-secret"
TABS = ("performance", "drift", "segments", "labels", "versions", "compare", "system", "business", "lineage")
MODEL = ("/#/models/churn", *(f"/#/models/churn?tab={tab}" for tab in TABS))
PAGES = ("/", *MODEL, "/#/incidents", "/#/alerts", "/#/silences", "/#/stream")
WITHOUT_TIMES = ("/#/silences", "/#/models/churn?tab=lineage")
"""Pages that show no time; all others must."""


def alert(console: Running) -> str:
    said = console.ask("/api/v1/alerts?status=firing")[2]["alerts"]
    return str(said[0]["event"]["data"]["fingerprint"])


def incident(console: Running) -> str:
    return str(console.ask("/api/v1/incidents")[2]["incidents"][0]["data"]["incident"])


def address(console: Running, path: str) -> str:
    """Of a page, or of one alert or incident."""
    return {"alert": f"/#/alerts/{alert(console)}", "incident": f"/#/incidents/{incident(console)}"}.get(path, path)


def tab(name: str) -> list[str]:
    """From the page of all models to a tab of a model's page."""
    return ["#models tbody a", f"#tab-{name}"]


ALERT = ["#pages a[href='#/alerts']", "#alerts-table tbody tr:first-child a"]
STREAM = ["#pages a[href='#/stream']"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("clicks", "found"),
    [
        ([], "#models .badge"),
        (tab("overview")[:1], "#model-alerts"),
        (tab("overview")[:1], "#heatmap-table"),
        (tab("performance"), "#chart-performance-accuracy"),
        (tab("drift"), "#heatmap-table"),
        (tab("drift"), "#drift-table"),
        (tab("drift"), "#chart-distribution"),
        (tab("segments"), "#segments-table"),
        (tab("labels"), "#chart-coverage"),
        (tab("labels"), "#restated"),
        (tab("versions"), "#versions-table"),
        (tab("system"), "#chart-system-latency"),
        (tab("business"), "#chart-business-revenue"),
        (tab("lineage"), "#lineage"),
        (ALERT, "#chart-alert"),
        (ALERT, "#evidence"),
        (ALERT, "#playbook h1"),
        (ALERT, "#life"),
        (STREAM, "#chart-lag"),
        (STREAM, "#chart-throughput"),
        (STREAM, "#watermarks"),
        (STREAM, "#dead-letters pre.value"),
    ],
)
def test_anything_is_two_clicks_away(
    browser: Browser, console: Running, clicks: list[str], found: str, width: int
) -> None:  # fmt: skip
    browser.open(console.address + "/", width=width)
    for selector in clicks:
        browser.click(selector)
    browser.one(found)
    assert browser.run("return document.querySelector(arguments[0]).checkVisibility()", found)


def test_tables_are_sorted_by_keyboard_and_stay_so(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/#/models/churn?version=churn_xgb:3&window=1m&tab=drift")
    browser.one("#drift-table")
    browser.run("document.querySelector('#drift-table-sort-psi').focus()")
    browser.press(Keys.ENTER, Keys.ENTER)
    values = [float(row[3].replace(",", "")) for row in browser.rows("#drift-table") if row[3] != "–"]
    assert values == sorted(values)
    assert browser.one("#drift-table th[aria-sort=ascending]").text.startswith("PSI")
    browser.has("● live")
    mark = browser.run("document.querySelector('#drift-table').dataset.old = '1'; return 1")
    console.do(lambda: console.view.windows.take(*next(iter(_record(console)))))
    console.do(lambda: console.view._changes.models.add("churn"))
    browser.wait(
        lambda: browser.run(
            "return document.querySelector('#drift-table') && !document.querySelector('#drift-table').dataset.old"
        )
    )
    assert mark
    assert browser.one("#drift-table th[aria-sort=ascending]").text.startswith("PSI")
    assert browser.run("return document.activeElement.id") == "drift-table-sort-psi"


def _record(console: Running):
    series = console.view.windows.find("churn", "churn_xgb:3", "1m")
    assert series is not None
    start = series.starts()[-1]
    import msgspec

    yield msgspec.json.encode(["churn", "churn_xgb:3", {}, "1m", start]), series.raw[start]


def test_everything_is_reached_with_the_keyboard(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/")
    browser.one("#models tbody a")
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.id") == "skip"
    browser.tab_to("#models tbody th a")
    browser.press(Keys.ENTER)
    browser.one("#tab-overview")
    browser.tab_to("[role=tab][aria-selected=true]")
    browser.press(Keys.ARROW_RIGHT)
    browser.one("#performance")
    browser.press(Keys.ARROW_RIGHT)
    browser.one("#drift-table")
    assert browser.run("return document.activeElement.id") == "tab-drift"
    browser.tab_to("#drift-table tbody button")
    browser.press(Keys.ENTER)
    browser.wait(lambda: "feature=" in browser.driver.current_url)
    browser.wait(
        lambda: browser.run("return document.querySelector('#drift-table tr.chosen button') === document.activeElement")
    )
    browser.tab_to("#chart-distribution-numbers summary", 200)
    browser.press(Keys.ENTER)
    browser.one("#chart-distribution-numbers table")


@pytest.mark.parametrize("width", [pytest.param(390, marks=pytest.mark.long), 360])
@pytest.mark.parametrize("path", [*PAGES, "incident", "alert"])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, console: Running, path: str, width: int) -> None:
    """Neither the page nor a table in it, with all that can be opened open."""
    browser.open(console.address + address(console, path), width=width)
    browser.one("main h1")
    browser.run("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    browser.wait(lambda: browser.run("return [...document.querySelectorAll('details > summary')].every(e => e.nextSibling)"))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(SIDEWAYS) == []
    small = browser.run(
        "return [...document.querySelectorAll('button, select, nav a')].filter(e => e.offsetParent && e.offsetHeight < 22)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert small == []


SIDEWAYS = """
return [...document.querySelectorAll("main *")].filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)).map((e) => e.outerHTML.slice(0, 80));
"""


def test_a_phone_sorts_cards(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/#/models/churn?version=churn_xgb:3&window=1m&tab=segments", width=390)
    browser.one("#segments-table-by option[value=predictions]")
    for value, down in (("predictions", False), ("-predictions", True)):
        browser.run("arguments[0].scrollIntoView({block: 'center'})", browser.one("#segments-table-by"))
        browser.click(f"#segments-table-by option[value='{value}']")
        counts = [int(row[1].replace(",", "")) for row in browser.rows("#segments-table")]
        assert counts == sorted(counts, reverse=down)
        assert len(set(counts)) > 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [*PAGES, "incident", "alert"])
def test_text_stands_out_in_light_and_dark(browser: Browser, console: Running, scheme: str, path: str) -> None:
    browser.open(console.address + address(console, path), scheme=scheme)
    browser.one("main h1")
    back = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(back) < 0.2) == (scheme == "dark")
    pairs = browser.run(CONTRASTS)
    assert len(pairs) > 3
    assert [(text, ratio) for text, front, behind in pairs if (ratio := contrast(front, behind)) < 4.5] == []


CONTRASTS = """
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const color = getComputedStyle(one).backgroundColor;
    if (!/rgba\\(.*, 0\\)|transparent/.test(color)) return color;
  }
  return getComputedStyle(document.body).backgroundColor;
};
const speaks = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
return [...document.querySelectorAll("body *")].filter((e) => e.offsetParent && !e.disabled && speaks(e))
  .map((e) => [e.innerText.slice(0, 40), getComputedStyle(e).color, behind(e)]);
"""


def luminance(color: str) -> float:
    """WCAG 2 relative luminance of ``rgb(…)``."""
    parts = [float(p) / 255 for p in re.findall(r"[\d.]+", color)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_states_are_words_and_shapes_too(browser: Browser, console: Running) -> None:
    for path in PAGES:
        browser.open(console.address + path)
        browser.one("main h1")
        bare = browser.run(
            "return [...document.querySelectorAll('.badge')].filter(b => !b.innerText.trim() || !b.querySelector('svg')).length"
        )
        assert bare == 0


def test_times_are_in_the_readers_zone_with_utc_on_hover(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/", zone="Asia/Kolkata")
    time = browser.one("#models time")
    start = str(time.get_attribute("datetime"))
    hour, minute = int(start[11:13]), int(start[14:16])
    local = (hour * 60 + minute + 330) % 1440
    assert time.text.endswith(f"{local // 60:02}:{local % 60:02}")
    assert start[:16].replace("T", " ") + " UTC" in str(time.get_attribute("title"))
    assert "Asia/Kolkata" in str(time.get_attribute("title")) or "Calcutta" in str(time.get_attribute("title"))


@pytest.mark.parametrize("path", [*PAGES, "incident", "alert"])
def test_every_time_has_utc_on_hover(browser: Browser, console: Running, path: str) -> None:
    """But for axes, and what alerts say themselves, which names UTC by its Z."""
    browser.open(console.address + address(console, path), zone="Asia/Kolkata")
    browser.one("main h1")
    browser.run("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    browser.wait(lambda: browser.run("return [...document.querySelectorAll('details > summary')].every(e => e.nextSibling)"))
    told, bare = browser.run(TIMES)
    assert bare == []
    assert told > 0 or path in WITHOUT_TIMES


TIMES = """
const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
const found = [];
while (walk.nextNode()) {
  if (/\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d/.test(walk.currentNode.data)) found.push(walk.currentNode);
}
const bare = found.filter((node) => !/UTC/.test(node.data) && !/UTC/.test(node.parentElement.closest("[title]")?.title ?? ""));
return [found.length, bare.map((node) => node.data)];
"""


def test_an_alert_is_acknowledged_and_silenced_and_silences_are_ended(browser: Browser, said: list[Output]) -> None:
    with running(fed(View(), said)) as console:
        mark = alert(console)
        browser.open(f"{console.address}/#/alerts/{mark}")
        browser.one("#comment").send_keys("on it")
        browser.click("#acknowledge")
        browser.has("by local")
        browser.has("on it")
        browser.click("#silence")
        browser.has("End silence")
        assert [line["action"] for line in console.audit()] == ["acknowledge", "silence"]
        assert console.audit()[0]["details"]["comment"] == "on it"
        browser.click("#pages a[href='#/silences']")
        browser.wait(lambda: len(browser.all("#silences-table tbody tr")) == 1)
        browser.one("#matchers").send_keys("model=churn")
        browser.click("form button[type=submit]")
        browser.wait(lambda: len(browser.all("#silences-table tbody tr")) == 2)
        for left in (1, 0):
            browser.click("#silences-table tbody button")
            browser.wait(lambda left=left: len(browser.all("#silences-table tbody tr")) == left)
        browser.leave()


def test_rolling_back_calls_the_hook_and_is_audited(
    browser: Browser, said: list[Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGAUGE_HOOK_SECRET", "s3cret-of-the-hook")
    with Receiver(200) as receiver:
        spec = Output(MODELS, b"churn", encode(ModelRecord("churn", replace(WATCHED, rollback=receiver.url))))
        with running(fed(View(), [spec, *(output for output in said if output.topic != MODELS)])) as console:
            browser.open(f"{console.address}/#/models/churn?version=churn_xgb:4&tab=versions")
            browser.click("#rollback summary")
            browser.click("#rollback button")
            browser.has(f"This would be done: the hook {receiver.url} is called.")
            assert not browser.one("#rollback .danger").is_enabled()
            browser.one("#rollback input").send_keys("churn_xgb:3")
            assert not receiver.received
            browser.click("#rollback .danger")
            browser.has("Done: the hook answered 200: said 200.")
            assert [line["action"] for line in console.audit()] == ["roll back"]
            browser.leave()


def test_rolling_back_needs_the_role(browser: Browser, said: list[Output]) -> None:
    with running(fed(View(), said), Access("0.0.0.0", {TOKEN: SILENCE})) as console:
        browser.open(console.address + "/#/models/churn?version=churn_xgb:4&tab=versions")
        browser.one("#token").send_keys(TOKEN)
        browser.press(Keys.ENTER)
        browser.one("#versions-table")
        assert not browser.all("#rollback")
        browser.click("#sign-out")
        browser.one("#token")
        browser.leave()
        browser.expected = ("401",)


def test_signing_in_takes_a_token_and_signing_out_drops_the_session(browser: Browser, said: list[Output]) -> None:
    with running(fed(View(), said), Access("0.0.0.0", {TOKEN: DECIDE})) as console:
        browser.open(console.address + "/#/alerts")
        browser.one("#token").send_keys("wrong-wrong-wrong")
        browser.press(Keys.ENTER)
        browser.has("this is not the token")
        browser.expected = ("401",)
        browser.one("#token").send_keys(TOKEN)
        browser.press(Keys.ENTER)
        browser.one("#alerts-table")
        assert browser.run("return document.cookie") == ""
        browser.click("#sign-out")
        browser.one("#token")
        browser.leave()
        browser.expected = ("401",)


def test_more_tabs_than_a_browser_has_connections(browser: Browser, console: Running) -> None:
    driver, first = browser.driver, browser.driver.current_window_handle
    try:
        for _ in range(8):
            browser.open(console.address + "/#/stream")  # fmt: skip
            browser.has("● live")
            driver.switch_to.new_window("tab")
    finally:
        for tab in driver.window_handles:
            if tab != first:
                driver.switch_to.window(tab)
                driver.close()
        driver.switch_to.window(first)


def test_a_wide_screen_shows_all_of_a_models_performance_at_once(browser: Browser, console: Running) -> None:
    """All plots of metrics lie on the first 900 pixels; on a narrow screen they are as high as elsewhere."""
    each = "return [...document.querySelectorAll('#performance .charts {}')].map(of => of.{})"
    heights = {}
    for width in (1440, 1000):
        browser.open(f"{console.address}/#/models/churn?tab=performance", width=width)
        browser.wait(lambda: browser.all("#performance .plot canvas"))
        heights[width] = browser.run(each.format("canvas", "offsetHeight"))
        if width == 1440:
            assert max(browser.run(each.format("figure", "getBoundingClientRect().bottom"))) <= 900
    assert len(heights[1440]) > 4
    assert max(heights[1440]) < min(heights[1000])
