"""What the pages show equals the topics' records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from support.driver import SPEC, Pipeline
from support.events import stream
from support.page import Browser
from support.serving import Running, fed, metrics_by_key, outputs, running
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, LABELS, MODELS, OPEN_WINDOWS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import Condition, MonitorSpec

GAP = MonitorSpec("gap", "fairness.region.accuracy_gap", "5m", Condition("above", high=0.1), min_count=100)
MODEL = "/#/models/churn?version=churn_xgb:3&window=1m&last=5000"


@pytest.fixture(scope="module")
def windows(said: list[Output]) -> list[list[dict[str, Any]]]:
    """Revisions of each minute of the whole version 3, oldest window first."""
    found = [
        revisions for revisions in metrics_by_key(said).values()
        if not revisions[-1]["segment"] and (revisions[-1]["model_version"], revisions[-1]["window"]) == ("churn_xgb:3", "1m")
    ]  # fmt: skip
    return sorted(found, key=lambda revisions: str(revisions[-1]["window_start"]))


def shown(value: float | None, share: bool = False) -> str:
    """A number as pages write it: four significant digits, whole numbers in full."""
    if value is None:
        return "–"
    if share:
        percent = value * 100
        return f"{percent:.2g} %" if percent and abs(percent) < 0.1 else f"{percent:.1f} %"
    if float(value).is_integer():
        return f"{int(value):,}"
    if value and (abs(value) < 1e-4 or abs(value) >= 1e7):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa}e{int(exponent):+d}"
    return f"{float(f'{value:.4g}'):,.10g}"


def minute(window: dict[str, Any]) -> str:
    return str(window["window_start"])[:16].replace("T", " ")


def test_the_first_page_shows_the_newest_window_of_each_model(browser: Browser, console: Running, said: list[Output]) -> None:
    browser.open(console.address + "/")
    (row,) = browser.rows("#models")
    newest = console.ask("/api/v1/models")[2]["models"][0]["newest"]
    assert row[0].splitlines() == ["churn", "binary · 2 versions"]
    assert row[4] == "no monitor"
    assert row[6].splitlines()[0] == shown(newest["coverage"], share=True)
    states = {
        json.loads(o.value or b"")["data"]["fingerprint"]: json.loads(o.value or b"")["data"] for o in said if o.topic == ALERTS
    }
    firing = [data["severity"] for data in states.values() if data["status"] == "firing"]
    assert firing
    assert [part.strip() for part in row[5].splitlines()] == [
        f"{firing.count(s)} {s}" for s in ("critical", "warning", "info") if s in firing
    ]
    assert browser.one("#firing").text == str(len(firing))
    (history,) = console.ask("/api/v1/fleet")[2]["models"]
    known = [value for value in history["metric"]["values"] if value is not None]
    assert row[7] == f"ROC AUC {shown(known[-1])}"
    assert row[8] == shown(newest["predictions"])
    wrong = sum(state is not None for state in history["health"]["data"])
    strip = f"data: something wrong in {wrong} of the newest {len(history['windows'])} windows"
    assert browser.all(f"#models svg[aria-label='{strip}']")


def test_models_are_filtered_and_the_address_says_how(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/")
    browser.one("#find-model").send_keys("other", Keys.ENTER)
    browser.has("No model is like that")
    assert browser.driver.current_url.endswith("#/?find=other")
    browser.open(console.address + "/#/?find=CHU&state=firing")
    assert len(browser.rows("#models")) == 1
    browser.click("#choose-state option[value=fine]")
    browser.has("No model is like that")


def test_the_performance_tab_shows_the_numbers_of_every_window(
    browser: Browser, console: Running, windows: list[list[dict[str, Any]]]
) -> None:
    browser.open(console.address + MODEL + "&tab=performance")
    for name in ("accuracy", "brier"):
        browser.click(f"#chart-performance-{name}-numbers summary")
        table = browser.rows(f"#chart-performance-{name}-numbers table")
        estimated = any(name in revisions[-1].get("estimated", {}) for revisions in windows)
        expected = []
        for revisions in windows:
            record = revisions[-1]
            values = [record["performance"].get(name), *record.get("performance_interval", {}).get(name, (None, None))]
            values += [record.get("estimated", {}).get(name)] if estimated else []
            expected.append([minute(record), *(shown(value) for value in values)])
        assert table == expected
    assert browser.all("#chart-performance-accuracy canvas")


def test_the_labels_tab_shows_what_late_labels_changed(
    browser: Browser, console: Running, windows: list[list[dict[str, Any]]]
) -> None:
    browser.open(console.address + MODEL + "&tab=labels")
    moved = [revisions for revisions in windows if len(revisions) > 1]
    rows = {row[0]: row for row in browser.rows("#restated")}
    assert list(rows) == [minute(revisions[0]) for revisions in reversed(moved)]
    for revisions in moved:
        row, first, last = rows[minute(revisions[0])], revisions[0], revisions[-1]
        assert row[1] == str(last["revision"])
        assert row[3] == f"{shown(first['labels'])} → {shown(last['labels'])}"
        place = next(
            i for i, name in enumerate(h.text for h in browser.all("#restated thead th")) if name.startswith("Accuracy")
        )
        before, after = (of.get("performance", {}).get("accuracy") for of in (first, last))
        assert row[place].splitlines()[0] == f"{shown(before)} → {shown(after)}"


def test_features_ranked_with_their_distribution(
    browser: Browser, console: Running, windows: list[list[dict[str, Any]]]
) -> None:  # fmt: skip
    record = windows[-1][-1]
    browser.open(console.address + MODEL + "&tab=drift&feature=plan")
    features = {**record["data"]["features"], "score (what the model says)": record["prediction"]}
    rows = browser.rows("#drift-table")
    moved = {name: of.get("shift", of.get("mix_shift", -1.0)) for name, of in features.items()}
    ranked = sorted(features, key=lambda name: -moved[name])
    assert moved[ranked[0]] > moved[ranked[-1]] > 0
    assert [row[0] for row in rows] == ranked
    assert [row[1].splitlines()[0] for row in rows] == [shown(moved[name]) for name in ranked]
    assert [row[3] for row in rows] == [shown(features[name].get("psi")) for name in ranked]
    browser.click("#chart-distribution-numbers summary")
    counts = record["data"]["features"]["plan"]["bin_counts"]
    reference = console.ask("/api/v1/models/churn/distributions?version=churn_xgb:3")[2]["features"]["plan"]
    kept = [p for p in range(5) if counts[p] + reference["counts"][p]]
    names = ["a", "b", "c", "(unseen)", "(missing)"]
    before = windows[-2][-1]["data"]["features"]["plan"]["bin_counts"]
    assert browser.rows("#chart-distribution-numbers table") == [
        [names[p], *(f"{100 * of[p] / sum(of):.1f} %" for of in (counts, reference["counts"], before))] for p in kept
    ]


def test_the_heatmap_tells_which_feature_went_beyond_its_limit(browser: Browser, console: Running) -> None:
    told = console.ask("/api/v1/models/churn/features?version=churn_xgb:3&window=5m")[2]
    since = {row["feature"]: row["since"] for row in told["features"] if "since" in row}
    assert list(since) == ["age"]
    browser.open(console.address + "/#/models/churn?version=churn_xgb:3&window=5m&last=5000&tab=drift")
    rows = {row[0]: row for row in browser.rows("#heatmap-table")}
    assert rows["age"][3].split() == [*since["age"][:16].split("T"), "Missing", "ratio"]
    assert rows["plan"][3] == "never"
    browser.has("age went beyond its limit first, by its missing ratio")
    cells = browser.run(
        "return [...document.querySelectorAll('#heatmap-table tbody tr:first-child rect')].map(one => one.textContent)"
    )
    assert len(cells) == len(told["windows"])
    browser.click("#heat-plan")
    browser.wait(lambda: browser.one("#feature h2").text == "plan")


def test_a_range_dragged_over_one_plot_is_that_of_all_and_of_the_address(
    browser: Browser, console: Running, windows: list[list[dict[str, Any]]]
) -> None:  # fmt: skip
    browser.open(console.address + MODEL + "&tab=performance")
    browser.one("#chart-performance-accuracy canvas")
    over = browser.one("#chart-performance-accuracy .u-over")
    browser.run("arguments[0].scrollIntoView({block: 'center'})", over)
    wide = over.size["width"]
    ActionChains(browser.driver).move_to_element_with_offset(over, -wide // 4, 0).click_and_hold().move_by_offset(
        wide // 2, 0
    ).release().perform()
    browser.one("#whole-range")
    assert "from=" in browser.driver.current_url
    browser.click("#chart-performance-brier-numbers summary")
    left = [row[0] for row in browser.rows("#chart-performance-brier-numbers table")]
    assert 0 < len(left) < len(windows)
    browser.click("#tab-system")
    browser.click("#chart-system-traffic-numbers summary")
    assert [row[0] for row in browser.rows("#chart-system-traffic-numbers table")] == left
    browser.click("#whole-range")
    browser.wait(lambda: "from=" not in browser.driver.current_url)
    browser.wait(lambda: len(browser.rows("#chart-system-traffic-numbers table")) == len(windows))


def test_segments_versions_and_the_deep_link(browser: Browser, console: Running, windows: list[list[dict[str, Any]]]) -> None:
    record = windows[3][-1]
    browser.open(f"{console.address}{MODEL}&tab=segments&at={record['window_start']}")
    path = f"/api/v1/models/churn/segments?version=churn_xgb:3&window=1m&window_start={record['window_start']}"
    expected = console.ask(path)[2]["records"]
    rows = {row[0]: row for row in browser.rows("#segments-table")}
    for one in expected:
        name = ",".join(f"{k}={v}" for k, v in one["segment"].items()) or "whole model"
        assert rows[name][1:3] == [shown(one["predictions"]), shown(one["coverage"], share=True)]
    assert len(rows) == len(expected) == 3
    browser.click("#tab-versions")
    browser.one("#versions-table")
    head = [cell.text.splitlines()[0] for cell in browser.all("#versions-table thead th")[1:]]
    assert head == ["churn_xgb:3 (shown)", "churn_xgb:4"]
    assert browser.rows("#versions-table")[0][1] == shown(record["predictions"])
    browser.click("#tab-segments")
    browser.click("#segments-table tbody tr:not(.chosen) button")
    browser.wait(lambda: "segment=region" in browser.driver.current_url)
    assert f"at={record['window_start'].replace(':', '%3A')}" in browser.driver.current_url


def test_the_page_of_an_early_alert_shows_how_its_open_window_stands(browser: Browser) -> None:
    said = outputs(ended=False)
    newest = json.loads(next(o.value for o in reversed(said) if o.topic == OPEN_WINDOWS and o.value) or b"")
    name = {"model_version": newest["model_version"], "segment": "", "alertname": "age-missing"}
    events = [json.loads(o.value or b"")["data"] for o in said if o.topic == ALERTS]
    mark = next(e["fingerprint"] for e in events if e["labels"].items() >= name.items())
    with running(fed(View(), said)) as console:
        browser.open(f"{console.address}/#/alerts/{mark}")
        assert f"{newest['predictions']} predictions so far" in browser.one("#still-open").text
        browser.click("#chart-alert-numbers summary")
        *_, last = browser.rows("#chart-alert-numbers table")
        assert last[1] == shown(newest["data"]["features"]["age"]["missing_ratio"])
        browser.leave()


def test_the_page_of_an_alert_shows_its_window_and_values(browser: Browser, console: Running, said: list[Output]) -> None:
    events = [json.loads(o.value or b"") for o in said if o.topic == ALERTS]
    mark = next(e["data"]["fingerprint"] for e in events if e["data"]["labels"]["alertname"] == "accuracy")
    own = [e for e in events if e["data"]["fingerprint"] == mark]
    browser.open(f"{console.address}/#/alerts/{mark}")
    browser.has(own[-1]["data"]["annotations"]["summary"].replace("`", ""))
    browser.has(own[-1]["data"]["annotations"]["description"])
    browser.has("A performance metric of a settled window")
    listed = [item.text for item in browser.all("#life > ol > li")]
    assert len(listed) == min(len(own), 6)
    for item, event in zip(listed, reversed(own), strict=False):
        assert event["data"]["annotations"]["summary"].replace("`", "") in item
        assert event["time"][:16].replace("T", " ") in item
    assert browser.all("#chart-alert canvas")
    browser.click("#chart-alert-numbers summary")
    values = {row[0]: row[1] for row in browser.rows("#chart-alert-numbers table")}
    window = own[-1]["data"]["window"]
    records = console.ask("/api/v1/models/churn/windows?version=churn_xgb:3&window=1m")[2]["records"]
    record = next(r for r in records if r["window_start"] == window["start"])
    assert values[minute(record)] == shown(record["performance"]["accuracy"])


def test_an_incident_is_read_from_its_cause_to_what_was_done(browser: Browser, console: Running) -> None:
    """Home says what is broken; one click leads to the incident: cause, consequences, plot, playbook; one more acknowledges."""
    told = console.ask("/api/v1/incidents?status=open")[2]["incidents"]
    assert told
    browser.open(console.address + "/")
    shown = [row[1].splitlines()[0] for row in browser.rows("#open-incidents-table")]
    assert sorted(shown) == sorted(event["data"]["title"].replace("`", "") for event in told)
    browser.click("#open-incidents-table tbody tr:first-child td a, #open-incidents-table tbody tr:first-child th a")
    browser.one("#timeline")
    (chosen,) = [event["data"] for event in told if event["data"]["incident"] in browser.driver.current_url]
    assert browser.one("main h1").text == chosen["title"].replace("`", "")
    listed = [item.text for item in browser.all("#timeline li")]
    assert len(listed) == len(chosen["alerts"])
    assert " cause" in listed[0]
    assert all(alert["summary"].replace("`", "") in text for alert, text in zip(chosen["alerts"], listed, strict=True))
    assert browser.one("#window").text
    assert browser.one("#playbook").text
    browser.one(".actions .comment").send_keys("the feed is down")
    browser.click(".actions [id^=acknowledge-]")
    browser.wait(lambda: "acknowledged" in browser.one(".actions").text)
    assert not browser.all(".actions [id^=acknowledge-]")
    assert ": the feed is down" in browser.one(".actions").text
    browser.click(".actions button[id^=silence-]")
    browser.wait(lambda: "silenced" in browser.one(".actions").text)
    assert not browser.all(".actions button[id^=silence-]")
    for silence in console.ask("/api/v1/silences")[2]["silences"]:
        console.ask(f"/api/v1/silences/{silence['id']}", "DELETE")


def test_stream_health_and_dead_letters_that_would_be_markup(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/#/stream")
    browser.has("not_json")
    assert "<script>document.title=2</script>" in browser.text()
    assert browser.driver.title == "Stream · tidegauge"
    assert browser.all("#lag .facts > div")[0].text.splitlines() == ["Lag of join", "12 records"]
    assert browser.all("#lag .facts > div")[2].text.splitlines() == ["Processed", "10 a second"]


@pytest.fixture
def empty() -> Iterator[Running]:
    with running(View()) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "tidegauge models apply DIR"), ("/#/alerts", "No alerts"), ("/#/silences", "Nothing is silenced"),
        ("/#/stream", "Start one: tidegauge worker"), ("/#/none", "There is no such page"),
    ],
)  # fmt: skip
def test_empty_pages_say_what_to_do(browser: Browser, empty: Running, path: str, text: str) -> None:
    browser.open(empty.address + path)
    browser.has(text)


def test_errors_say_what_to_do(browser: Browser, console: Running) -> None:
    browser.open(console.address + "/#/models/none")
    browser.has("no model 'none'")
    browser.expected = ("404",)


def test_pages_update_without_being_loaded_again(browser: Browser, said: list[Output]) -> None:
    half = len(said) // 2
    view = fed(View(), said[:half])
    with running(view) as console:
        browser.open(console.address + "/#/alerts")
        browser.has("● live")
        console.do(lambda: fed(view, said[half:]))
        count = len(console.ask("/api/v1/alerts")[2]["alerts"])
        browser.wait(lambda: len(browser.all("#alerts-table tbody tr")) == count)
        browser.leave()


def test_what_is_not_read_yet_and_what_there_is_no_room_for(
    browser: Browser, said: list[Output], windows: list[list[dict[str, Any]]]
) -> None:  # fmt: skip
    view = View(budget=100_000)
    for minute in range(200):
        start = f"2025-09-26T{minute // 60:02}:{minute % 60:02}:00Z"
        key = ["churn", "churn_xgb:3", {}, "1m", start]
        view.windows.take(
            json.dumps(key, separators=(",", ":")).encode(), json.dumps({**windows[0][0], "window_start": start}).encode()
        )
    fed(view, said)
    view.has_read(0.417)
    with running(view) as console:
        browser.open(console.address + MODEL)
        browser.has("Reading older records: 41 %")
        series = view.windows.find("churn", "churn_xgb:3", "1m")
        assert series is not None
        assert series.dropped > 50
        browser.has(f"There was no room for {series.dropped} older ones")
        console.do(lambda: view.has_read(1.0))
        browser.wait(lambda: "Reading older records" not in browser.text())
        browser.leave()


def test_the_page_of_a_comparison_shows_the_newest_record(browser: Browser, console: Running, said: list[Output]) -> None:
    found = [json.loads(o.value) for o in said if o.value and b'"kind":"comparison"' in o.value]
    record = max(found, key=lambda one: (one["window_start"], one["revision"]))
    browser.open(console.address + MODEL + "&tab=versions")
    table = f"[id='comparison-{record['model_version']}-{record['champion']}-{record['monitor']}']"
    rows = {row[0]: row for row in browser.rows(table)}
    heading = " ".join(browser.one(".verdict h3").text.split())
    assert heading == f"{record['monitor']}: {record['model_version']} against {record['champion']}: {record['verdict']}"
    browser.has(record["reason"])
    names = {"performance.accuracy": "Accuracy", "performance.brier": "Brier", "system.latency_ms.mean": "Latency ms, mean"}
    assert set(names) <= set(record["metrics"])
    for path, name in names.items():
        of = record["metrics"][path]
        assert rows[name][1] == ("not known yet" if of["judgement"] == "open" else of["judgement"])
        assert rows[name][2:4] == [shown(of["champion"]), shown(of["challenger"])]
        assert rows[name][4].splitlines() == [shown(of["difference"]), " to ".join(shown(end) for end in of["interval"])]
        assert rows[name][5] == shown(of["margin"])


def test_the_attributions_tab_shows_the_records_numbers(
    browser: Browser, said: list[Output], windows: list[list[dict[str, Any]]]
) -> None:
    attributions = {"age": {"mean_abs": 0.31, "psi": 0.25, "p_value": 0.001}, "plan": {"mean_abs": 0.52, "psi": 0.01}}
    ranking = {"rank_correlation": 0.4, "entered_top": ["plan"], "left_top": []}
    record = {**windows[-1][-1], "attributions": attributions, "attribution_ranking": ranking}
    key = ["churn", "churn_xgb:3", {}, "1m", record["window_start"]]
    view = fed(View(), said)
    view.windows.take(json.dumps(key, separators=(",", ":")).encode(), json.dumps(record).encode())
    with running(view) as console:
        browser.open(console.address + MODEL + "&tab=drift")
        assert browser.rows("#attributions-table") == [
            ["plan", "0.52", "0.01", "no monitor", "–"], ["age", "0.31", "0.25", "no monitor", "0.001"],
        ]  # fmt: skip
        browser.has("rank correlation 0.4. plan is among the five largest now")
        browser.leave()


def test_the_fairness_tab_shows_the_gap_and_its_chart(browser: Browser) -> None:
    """Two regions, one of which is served worse."""
    driven = Pipeline(replace(SPEC, windows=("5m",), monitors=(GAP,)))
    for topic, raw in stream(3, count=1200):
        event = json.loads(raw)
        if topic == LABELS and int(event["request_id"][1:]) % 3 == 0:
            event["label"] = 1 - event["label"]
        if topic == PREDICTIONS:
            event["segments"] = {"region": "eu" if int(event["request_id"][1:]) % 3 else "us"}
        driven.send(topic, [json.dumps(event).encode()])
    driven.finish()
    view = fed(View(), [Output(MODELS, b"churn", encode(ModelRecord("churn", driven.registry.spec("churn")))), *driven.outputs])
    record = next(of for of in driven.records().values() if not of["segment"] and of["model_version"].endswith(":3"))
    said = record["fairness"]["region"]
    least, most = said["extremes"]["accuracy"]
    assert (least, most) == ("us", "eu")
    own = {
        of["segment"]["region"]: of["performance"] for of in driven.records().values()
        if of["segment"] and (of["model_version"], of["window_start"]) == (record["model_version"], record["window_start"])
    }  # fmt: skip
    with running(view) as console:
        address = f"{console.address}/#/models/churn?version=churn_xgb:3&window=5m&tab=segments&at={record['window_start']}"
        browser.open(address)
        rows = {row[0]: row[1:] for row in browser.rows("#fairness-region")}
        assert len(rows) == 7
        assert rows["Accuracy gap"] == [
            shown(said["accuracy_gap"]), shown(said["accuracy_gap_p_value"]), f"us {shown(own['us']['accuracy'])}",
            f"eu {shown(own['eu']['accuracy'])}", "gap",
        ]  # fmt: skip
        assert rows["Disparate impact ratio"][:2] == [shown(said["disparate_impact_ratio"]), "–"]
        # What is over a limit is shown first; a choice is part of the address.
        browser.one("#chart-fairness-region[id] figcaption")
        assert browser.one("#chart-fairness-region figcaption").text == "Accuracy gap between values of region"
        assert browser.one("#chart-between-region figcaption").text == "Accuracy of us and eu"
        browser.click("#chart-between-region-numbers summary")
        between = {row[0]: row[1:] for row in browser.rows("#chart-between-region-numbers table")}
        assert between[minute(record)] == [shown(own["us"]["accuracy"], share=False), shown(own["eu"]["accuracy"], share=False)]
        browser.click("#gap-region-selection_rate_gap")
        browser.wait(lambda: "gap=region.selection_rate_gap" in browser.driver.current_url)
        browser.wait(lambda: browser.one("#chart-fairness-region figcaption").text.startswith("Selection rate gap"))
        browser.leave()
