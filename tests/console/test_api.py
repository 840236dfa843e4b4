"""The API over a real port: every answer is what the OpenAPI document says, and what the topics say."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from support.serving import WATCHED, Running, fed, metrics_by_key, outputs, running
from tidegauge.alert.operations import OPERATIONS, Mark
from tidegauge.alert.operations import encode as encode_operation
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, METRICS, MODELS, OPEN_WINDOWS
from tidegauge.metrics.record import iso
from tidegauge.models.registry import ModelChange, ModelRecord, encode
from tidegauge.stream.reading_progress import GroupPosition

SCHEMAS = Path(__file__).parents[2] / "schemas"
DOCUMENT = yaml.safe_load((SCHEMAS / "openapi.yaml").read_text("utf-8"))
REGISTRY: Registry[Any] = Registry().with_resources(
    [(s["$id"], Resource.from_contents(s)) for s in (json.loads(p.read_text("utf-8")) for p in SCHEMAS.glob("*.schema.json"))]
    + [("urn:openapi", Resource.from_contents(DOCUMENT | {"$schema": "https://json-schema.org/draft/2020-12/schema"}))]
)
SAID = outputs()
WINDOWS = "version=churn_xgb:3&window=1m"
MOVED = [o for o in SAID if o.topic == ALERTS]


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    view = fed(View(), SAID)
    headers = (
        ("reason", b"not_json"),
        ("message", b"not JSON: <b>x</b>"),
        ("topic", b"labels"),
        ("partition", b"0"),
        ("offset", b"7"),
    )
    view.take(DEAD_LETTERS, [Line(b"k", b"\xff{" + b"<script>" * 500, headers, 1_700_000_000_000)] * 30)
    now = time.time()
    view.progress.measured(
        now - 5,
        [GroupPosition("join", "predictions", 0, 10, 20), GroupPosition("monitor", "tidegauge-profiles", 0, 4, 4)],
    )
    view.progress.measured(
        now, [GroupPosition("join", "predictions", 0, 60, 70), GroupPosition("monitor", "tidegauge-profiles", 0, 4, 4)]
    )
    with running(view) as started:
        yield started


def schema_of(method: str, path: str, status: int) -> dict[str, Any]:
    """Where the document says what this answer looks like."""
    for pattern in DOCUMENT["paths"]:
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            place = pattern.replace("~", "~0").replace("/", "~1")
            answers = DOCUMENT["paths"][pattern][method.lower()]["responses"]
            where = f"/paths/{place}/{method.lower()}/responses/{status if str(status) in answers else 'default'}"
            response = answers.get(str(status), answers["default"])
            if "$ref" in response:
                where = response["$ref"].removeprefix("#")
            return {"$ref": f"urn:openapi#{where}/content/application~1json/schema"}
    raise AssertionError(f"{path} is not in the document")


def get(console: Running, path: str, status: int = 200, method: str = "GET", body: Any = None) -> Any:
    """The answer, checked against the document."""
    got, headers, said = console.ask(path, method, body)
    assert (got, headers.get_content_type()) == (status, "application/json"), said
    validator = Draft202012Validator(schema_of(method, path.split("?")[0], status), registry=REGISTRY)
    assert [f"{e.json_path}: {e.message[:300]}" for e in validator.iter_errors(said)] == []
    return said


def test_the_document_is_served_as_it_is_kept(console: Running) -> None:
    assert get(console, "/api/v1/openapi.json") == json.loads(json.dumps(DOCUMENT))


def test_every_path_of_the_document_is_served_and_no_other(console: Running) -> None:
    routes = {r.resource.canonical for r in console._server.app.router.routes() if r.resource.canonical.startswith("/api/")}
    assert routes == set(DOCUMENT["paths"])
    for path, methods in DOCUMENT["paths"].items():
        served = {r.method.lower() for r in console._server.app.router.routes() if r.resource.canonical == path}
        assert served - {"head"} == methods.keys() - {"parameters"}


def test_models_are_listed_with_versions_and_firing_alerts(console: Running) -> None:
    (model,) = get(console, "/api/v1/models")["models"]
    assert (model["model"], model["task"], model["versions"]) == ("churn", "binary", ["churn_xgb:3", "churn_xgb:4"])
    firing = {}
    for output in MOVED:
        data = json.loads(output.value or b"")["data"]
        firing[data["fingerprint"]] = data["status"] == "firing" and data["severity"]
    assert model["firing"] == {s: list(firing.values()).count(s) for s in ("critical", "warning", "info")}
    assert model["health"]["business"]["state"] == "unwatched"
    assert model["health"]["system"]["state"] == "ok"


def test_a_model_has_its_monitors_segments_and_baselines(console: Running) -> None:
    model = get(console, "/api/v1/models/churn")
    assert [m["name"] for m in model["monitors"]] == ["accuracy", "age-missing", "never"]
    assert {s["name"] for s in model["segments"]} == {"region=eu", "region=us"}
    assert {b["source"] for b in model["baselines"]} == {"learned"}


def test_windows_are_the_newest_revisions_in_order(console: Running) -> None:
    said = get(console, f"/api/v1/models/churn/windows?{WINDOWS}")["records"]
    expected = [
        revisions[-1] for revisions in metrics_by_key(SAID).values()
        if revisions[-1]["model_version"] == "churn_xgb:3" and revisions[-1]["window"] == "1m" and not revisions[-1]["segment"]
    ]  # fmt: skip
    assert said == sorted(expected, key=lambda r: r["window_start"])
    part = get(console, f"/api/v1/models/churn/windows?{WINDOWS}&segment=region%3Deu&members=performance&limit=2")
    assert len(part["records"]) == 2
    assert "data" not in part["records"][0]


def test_open_windows_are_told_until_they_close() -> None:
    said = outputs(ended=False)
    told = [(o.key, o.value) for o in said if o.topic == OPEN_WINDOWS]
    newest = {key: json.loads(value) for key, value in dict(told).items() if value}
    whole = [record for record in newest.values() if (record["model_version"], record["segment"]) == ("churn_xgb:3", {})]
    assert len(whole) == 1
    with running(fed(View(), said)) as console:
        asked = "/api/v1/models/churn/open-windows?version=churn_xgb:3&window=5m"
        assert get(console, asked)["records"] == whole
        closed = get(console, "/api/v1/models/churn/windows?version=churn_xgb:3&window=5m")["records"]
        assert whole[0]["window_start"] > closed[-1]["window_start"]
    assert any(value is None for _, value in told)


def test_the_fleet_has_the_windows_of_each_model(console: Running) -> None:
    (row,) = get(console, "/api/v1/fleet")["models"]
    records = get(console, f"/api/v1/models/churn/windows?version={row['model_version']}&window=5m")["records"]
    assert (row["window"], row["windows"]) == ("5m", [record["window_start"] for record in records])
    assert row["predictions"] == [record["predictions"] for record in records]
    assert row["coverage"] == [record.get("coverage") for record in records]
    name = row["metric"]["name"]
    assert row["metric"]["values"] == [record.get("performance", {}).get(name) for record in records]
    newest = {json.loads(o.value or b"")["data"]["fingerprint"]: json.loads(o.value or b"")["data"] for o in MOVED}
    assert newest
    for record, told in zip(records, row["health"]["model"], strict=True):
        there = [
            data for data in newest.values()
            if data["metric"] == "performance.accuracy" and data["starts_at"] < record["window_end"]
            and (data["ends_at"] is None or data["ends_at"] > record["window_start"])
        ]  # fmt: skip
        assert told == ("critical" if there else None)
    assert row["health"]["business"] == [None] * len(records)


def test_features_are_told_window_by_window(console: Running) -> None:
    records = get(console, "/api/v1/models/churn/windows?version=churn_xgb:3&window=5m")["records"]
    told = get(console, "/api/v1/models/churn/features?version=churn_xgb:3&window=5m")
    assert (told["watched"], told["windows"]) == (True, [record["window_start"] for record in records])
    rows = {row["feature"]: row for row in told["features"]}
    of = {name: [record["data"]["features"].get(name, {}) for record in records] for name in ("age", "plan")}
    assert set(rows) == set(of)
    for name, row in rows.items():
        missing = [one["missing_ratio"] for one in of[name]]
        assert row["values"] == pytest.approx([min(ratio / 0.2, 10) for ratio in missing], abs=1e-3)
        beyond = [start for start, ratio in zip(told["windows"], missing, strict=True) if ratio > 0.2]
        assert (row.get("since"), row.get("why")) == ((beyond[0], "missing_ratio") if beyond else (None, None))
    assert "since" in rows["age"]
    assert "since" not in rows["plan"]
    psi = get(console, "/api/v1/models/churn/features?version=churn_xgb:3&window=5m&measure=psi&limit=1")
    assert psi["windows"] == told["windows"][-1:]
    for row in psi["features"]:
        assert row["values"] == pytest.approx([of[row["feature"]][-1]["psi"]], rel=1e-3)
    get(console, "/api/v1/models/churn/features?version=churn_xgb:3&window=5m&measure=none", 400)


def test_the_segments_of_one_window_are_listed(console: Running) -> None:
    start = get(console, f"/api/v1/models/churn/windows?{WINDOWS}&limit=1")["records"][0]["window_start"]
    said = get(console, f"/api/v1/models/churn/segments?{WINDOWS}&window_start={start}")["records"]
    assert [r["segment"] for r in said] == [{}, {"region": "eu"}, {"region": "us"}]
    assert {r["window_start"] for r in said} == {start}


def test_restatements_list_windows_with_several_revisions(console: Running) -> None:
    moved = get(console, f"/api/v1/models/churn/restatements?{WINDOWS}")["windows"]
    assert moved
    for window in moved:
        revisions = [r["revision"] for r in window["revisions"]]
        assert revisions == sorted(set(revisions))


def test_limits_and_distributions_are_those_of_spec_and_records(console: Running) -> None:
    limits = get(console, f"/api/v1/models/churn/limits?{WINDOWS}")["limits"]
    assert {"monitor": "accuracy", "metric": "performance.accuracy", "severity": "critical", "condition": "below 0.75",
            "low": 0.75} in limits  # fmt: skip
    said = get(console, "/api/v1/models/churn/distributions?version=churn_xgb:3")
    record = get(console, f"/api/v1/models/churn/windows?{WINDOWS}&limit=1")["records"][0]
    for feature, of in said["features"].items():
        assert len(of["counts"]) == len(record["data"]["features"][feature]["bin_counts"])
    assert len(said["prediction"]["counts"]) == len(record["prediction"]["bin_counts"])
    assert get(console, "/api/v1/models/churn/distributions?version=other")["features"] == {}


def test_comparisons_are_the_newest_of_each_monitor(console: Running) -> None:
    compared: dict[tuple[str, str], dict[str, Any]] = {}
    for output in SAID:
        record = json.loads(output.value or b"{}") if output.topic == METRICS else {}
        if record.get("kind") == "comparison":
            compared[record["monitor"], record["window_start"]] = record
    assert compared
    newest = [max((of for (name, _), of in compared.items() if name == monitor), key=lambda of: of["window_start"])
              for monitor in dict.fromkeys(name for name, _ in compared)]  # fmt: skip
    assert get(console, "/api/v1/models/churn/comparisons")["records"] == newest


def test_alerts_are_the_newest_events_and_can_be_filtered(console: Running) -> None:
    said = get(console, "/api/v1/alerts")["alerts"]
    newest = {json.loads(o.value or b"")["data"]["fingerprint"]: json.loads(o.value or b"") for o in MOVED}
    assert {one["event"]["data"]["fingerprint"]: one["event"] for one in said} == newest
    firing = get(console, "/api/v1/alerts?status=firing&model=churn")["alerts"]
    assert [one["event"] for one in firing] == [one["event"] for one in said if one["event"]["data"]["status"] == "firing"]
    assert get(console, "/api/v1/alerts?model=other") == {"alerts": [], "total": 0}


def test_one_alert_with_its_life_and_playbook(console: Running) -> None:
    events = [json.loads(o.value or b"") for o in MOVED]
    accuracy = next(e for e in events if e["data"]["labels"]["alertname"] == "accuracy")
    mark = accuracy["data"]["fingerprint"]
    said = get(console, f"/api/v1/alerts/{mark}")
    assert said["transitions"] == [e for e in events if e["data"]["fingerprint"] == mark]
    assert len(said["transitions"]) >= 2
    assert said["playbook"]["markdown"] == (SCHEMAS.parent / "docs/playbooks/accuracy-drop.md").read_text("utf-8")
    assert said["playbook"]["html"].startswith("<h1>")


def test_the_stream_tells_lag_rates_and_dead_letters(console: Running) -> None:
    said = get(console, "/api/v1/stream")
    assert said["samples"][-1]["lag"] == {"join": 10, "monitor": 0}
    assert said["samples"][-1]["written_per_second"] == pytest.approx(10.0, rel=0.01)
    assert said["samples"][-1]["processed_per_second"] == pytest.approx(10.0, rel=0.01)
    (letters,) = said["dead_letters"]
    assert (letters["reason"], letters["count"], len(letters["samples"])) == ("not_json", 30, 20)
    assert letters["samples"][0]["value"].startswith("\\xff{<script>")
    assert letters["samples"][0]["cut"]
    assert len(letters["samples"][0]["value"]) < 2100


def test_acknowledging_lasts_for_the_episode_and_is_kept_in_the_topic(console: Running) -> None:
    mark = get(console, "/api/v1/alerts?status=firing")["alerts"][0]["event"]["data"]["fingerprint"]
    said = get(console, f"/api/v1/alerts/{mark}/acknowledge", 200, "POST", {"comment": "on it"})
    assert (said["acknowledged"]["by"], said["acknowledged"]["comment"]) == ("local", "on it")
    again = View()
    fed(again, SAID)
    for topic, key, value in console.kept.written:
        again.take(topic, [Line(key, value)])
    with running(again) as restarted:
        assert get(restarted, f"/api/v1/alerts/{mark}")["acknowledged"]["comment"] == "on it"
    assert get(console, "/api/v1/models")["models"][0]["health"]
    assert "acknowledged" not in get(console, f"/api/v1/alerts/{mark}/acknowledge", 200, "DELETE")
    get(console, f"/api/v1/alerts/{mark}/acknowledge", 404, "DELETE")


def test_silences_of_an_alert_and_of_a_model_are_made_and_ended(console: Running) -> None:
    event = get(console, "/api/v1/alerts?status=firing")["alerts"][0]["event"]
    mark = event["data"]["fingerprint"]
    (made,) = get(console, f"/api/v1/alerts/{mark}/silence", 201, "POST", {"duration": "2h"})["silences"]
    assert made["matchers"] == event["data"]["labels"]
    assert get(console, f"/api/v1/alerts/{mark}")["silenced"]["id"] == made["id"]
    both = get(console, "/api/v1/silences", 201, "POST", {"matchers": {"model": "churn"}, "duration": "1h", "comment": "drill"})
    assert [s["comment"] for s in both["silences"]] == ["drill", ""]
    assert all("silenced" in one for one in get(console, "/api/v1/alerts")["alerts"])
    for silence in both["silences"]:
        get(console, f"/api/v1/silences/{silence['id']}", 200, "DELETE")
    assert get(console, "/api/v1/silences") == {"silences": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/models/none", None, 404),
        ("GET", "/api/v1/models/churn/windows", None, 400),
        ("GET", "/api/v1/models/churn/windows?version=x&window=1m", None, 404),
        ("GET", f"/api/v1/models/churn/windows?{WINDOWS}&limit=-1", None, 400),
        ("GET", f"/api/v1/models/churn/windows?{WINDOWS}&limit=9999999999", None, 400),
        ("GET", f"/api/v1/models/churn/segments?{WINDOWS}", None, 400),
        ("GET", "/api/v1/alerts/none", None, 404),
        ("POST", "/api/v1/alerts/none/acknowledge", {}, 404),
        ("POST", "/api/v1/silences", {"matchers": {}, "duration": "1h"}, 400),
        ("POST", "/api/v1/silences", {"matchers": {"segment": ""}, "duration": "1h"}, 400),
        ("POST", "/api/v1/silences", {"matchers": {"no label": "b"}, "duration": "1h"}, 400),
        ("POST", "/api/v1/silences", {"matchers": {"a": "b"}, "duration": "for ever"}, 400),
        ("POST", "/api/v1/silences", {"matchers": {"a": "b"}, "duration": "9999d"}, 400),
        ("POST", "/api/v1/silences", {"matchers": {"a": 1}, "duration": "1h"}, 400),
        ("POST", "/api/v1/silences", {"matchers": {"a": "b"}, "duration": "1h", "more": 1}, 400),
        ("POST", "/api/v1/silences", b"{" * 2000, 400),
        ("POST", "/api/v1/silences", b" " * 20_000, 413),
        ("DELETE", "/api/v1/silences/none", None, 404),
    ],
)
def test_what_cannot_be_answered_says_why(console: Running, method: str, path: str, body: Any, status: int) -> None:
    assert get(console, path, status, method, body)["error"]


def test_an_incident_says_what_changed_when_it_began(console: Running) -> None:
    event = get(console, "/api/v1/incidents")["incidents"][0]
    path = f"/api/v1/incidents/{event['data']['incident']}"
    before = get(console, path)["changes"]
    began = datetime.fromisoformat(event["data"]["starts_at"]).timestamp()
    marks = [Mark("1", "release 2.3", began - 60, "ann", 0.0), Mark("2", "of another model", began, "ann", 0.0, "other")]
    console.do(lambda: console.view.take(OPERATIONS, [Line(mark.key, encode_operation(mark)) for mark in marks]))
    said = get(console, path)["changes"]
    assert {"time": iso(began - 60), "kind": "mark", "text": "release 2.3", "by": "ann"} in said
    assert len(said) == len(before) + 1
    console.do(lambda: console.view.take(OPERATIONS, [Line(mark.key, None) for mark in marks]))
    assert get(console, path)["changes"] == before


@pytest.mark.parametrize("what", ["alerts", "incidents"])
def test_a_list_is_told_in_part_and_how_long_it_is(console: Running, what: str) -> None:
    whole = get(console, f"/api/v1/{what}")
    assert whole["total"] == len(whole[what]) > 0
    for limit in (0, 1, whole["total"], 5000):
        said = get(console, f"/api/v1/{what}?limit={limit}")
        assert (len(said[what]), said["total"]) == (min(limit, whole["total"]), whole["total"])
    assert "limit" in get(console, f"/api/v1/{what}?limit=many", 400)["error"]
    states = [one.get("event", one)["data"]["status"] for one in get(console, f"/api/v1/{what}?limit=1")[what]]
    assert states == ["firing" if what == "alerts" else "open"]


def test_an_incident_is_acknowledged_and_noted_as_a_whole(console: Running) -> None:
    event = next(e for e in get(console, "/api/v1/incidents")["incidents"] if e["data"]["status"] == "open")
    path = f"/api/v1/incidents/{event['data']['incident']}"
    firing = [one for one in get(console, path)["alerts"] if one["event"]["data"]["status"] == "firing"]
    assert firing
    said = get(console, f"{path}/acknowledge", 200, "POST", {"comment": "seen"})
    acknowledged = [one["acknowledged"]["comment"] for one in said["alerts"] if one["event"]["data"]["status"] == "firing"]
    assert acknowledged == ["seen"] * len(firing)
    get(console, f"{path}/acknowledge", 200, "POST", {"comment": "again"})
    assert get(console, path)["alerts"] == said["alerts"]
    noted = get(console, f"{path}/notes", 200, "POST", {"text": " it  is back ", "together": True})
    assert [(note["text"], note["by"]) for note in noted["notes"]] == [("it is back", "local")]
    attention = get(console, "/api/v1/incidents?status=open")["attention"][event["data"]["incident"]]
    assert attention["firing"] == attention["acknowledged"] == len(firing)
    assert attention["note"]["text"] == "it is back"
    assert "at most 500" in get(console, f"{path}/notes", 400, "POST", {"text": " "})["error"]
    assert "no incident" in get(console, "/api/v1/incidents/none/silence", 404, "POST", {"duration": "1h"})["error"]
    get(console, f"{path}/silence", 400, "POST", {"duration": "soon"})
    for one in firing:
        get(console, f"/api/v1/alerts/{one['event']['data']['fingerprint']}/acknowledge", 200, "DELETE")


def test_a_changed_spec_stands_with_marks_and_with_the_incident(console: Running) -> None:
    event = get(console, "/api/v1/incidents")["incidents"][0]
    began = datetime.fromisoformat(event["data"]["starts_at"]).timestamp()
    old = next(o for o in SAID if o.topic == MODELS)
    changes = (
        ModelChange(began - 60, "ann", "spec", "grace 60 → 300"),
        ModelChange(began + 9e5, "ann", "spec", "grace 300 → 7"),
    )
    changed = encode(ModelRecord("churn", WATCHED, {}, changes))
    console.do(lambda: console.view.take(MODELS, [Line(b"churn", changed)]))
    told = [{"time": iso(of.ts), "kind": "spec", "text": of.text, "by": "ann"} for of in changes]
    assert get(console, "/api/v1/models/churn")["marks"] == told
    said = get(console, f"/api/v1/incidents/{event['data']['incident']}")["changes"]
    assert [one for one in said if one["kind"] == "spec"] == told[:1]
    console.do(lambda: console.view.take(MODELS, [Line(b"churn", old.value)]))


def test_changes_are_told_as_they_happen(console: Running) -> None:
    with urllib.request.urlopen(f"{console.address}/api/v1/events", timeout=20) as events:
        assert [events.readline() for _ in range(2)] == [b"retry: 2000\n", b"event: hello\n"]
        console.do(lambda: fed(console.view, SAID[-5:]))
        while not (line := events.readline()).startswith(b"event: change"):
            assert line
        assert json.loads(events.readline().removeprefix(b"data: "))["models"] == ["churn"]


def test_files_are_read_only() -> None:
    with running(fed(View(), SAID), read_only=True) as console:
        mark = get(console, "/api/v1/alerts?status=firing")["alerts"][0]["event"]["data"]["fingerprint"]
        assert not get(console, "/api/v1/session")["can_change"]
        assert "reads files" in get(console, f"/api/v1/alerts/{mark}/acknowledge", 409, "POST", {})["error"]
        assert console.audit()[-1]["outcome"] == "refused"
