"""The demo's nine months through `replay`: every incident found and named, in the first window that shows it; few others."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tidegauge.demo import dataset, findings, incidents
from tidegauge.engine.stage import ALERTS, LABELS, METRICS, PREDICTIONS
from tidegauge.models.directory import records_of
from tidegauge.models.read import load_to_build
from tidegauge.models.registry import Registry, encode
from tidegauge.offline import reference
from tidegauge.offline.replay import Lines, Replay

# Making the data and the baseline takes a minute on a quiet machine.
pytestmark = pytest.mark.timeout(1200)
DAY = 86400.0
LAST = dataset.FIRST_DAY + 275 * DAY


@pytest.fixture(scope="module")
def data() -> dataset.DemoData:
    cache = Path(os.environ.get("TIDEGAUGE_CACHE") or Path.home() / ".cache" / "tidegauge")
    return dataset.prepare(cache, print)


@pytest.fixture(scope="module")
def run(data: dataset.DemoData, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Alerts, records and the baseline's metrics, with the demo's spec but for its segments, which would only cost time: the
    default monitors judge the whole model."""
    directory = tmp_path_factory.mktemp("demo")
    models = directory / "models"
    models.mkdir()
    text = Path(dataset.__file__).with_name("flight_delays.yaml").read_text()
    (models / "flight_delays.yaml").write_text(text.replace("segments: [origin]\n", ""))
    spec = load_to_build(models / "flight_delays.yaml")
    assert spec.monitors is None
    assert not spec.segments
    baseline = reference.build(spec, "flight_delays:1", data.reference)
    (models / "flight_delays-1.baseline.json").write_bytes(baseline.to_json())
    paths = {topic: directory / topic for topic in (PREDICTIONS, LABELS)}
    files = {topic: path.open("wb") for topic, path in paths.items()}
    for _, topic, value in data.stream(275):
        files[topic].write(value + b"\n")
    for file in files.values():
        file.close()
    registry = Registry()
    for record in records_of(models):
        registry.apply(record.model.encode(), encode(record))
    found: dict[str, list[Any]] = {ALERTS: [], METRICS: []}
    Replay(registry, lambda o: found[o.topic].append(json.loads(o.value or b"")) if o.topic in found else None).run(
        Lines(paths[PREDICTIONS]), Lines(paths[LABELS])
    )
    return found[ALERTS], found[METRICS], baseline.metrics


@pytest.fixture(scope="module")
def worst(data: dataset.DemoData) -> dict[float, tuple[float, float]]:
    """By day: how many more flights were late than the live model expected, and the share of predictions without weather,
    from the rows alone."""
    seen: dict[str, tuple[float, float, bool]] = {}
    late: dict[str, int] = {}
    for _, topic, value in data.stream(275):
        event = json.loads(value)
        if topic == LABELS:
            late[event["request_id"]] = event["label"]
        elif event["model_version"].endswith(":1"):
            seen[event["request_id"]] = (event["ts"] // DAY * DAY, event["score"], event["features"]["temp"] is None)
    days: dict[float, list[str]] = defaultdict(list)
    for name, (day, _, _) in seen.items():
        days[day].append(name)
    found = {}
    for day, names in days.items():
        landed = [late[name] for name in names if name in late]
        expected = sum(seen[name][1] for name in names) / len(names)
        excess = sum(landed) / len(landed) - expected if landed else 0.0
        found[day] = (excess, sum(seen[name][2] for name in names) / len(names))
    return found


def first_shown(incident: incidents.Incident, worst: dict[float, tuple[float, float]]) -> float:
    """The first day of an incident that shows it: for what we broke and for gaps its first, for storms the first bad one."""
    days = [day for day in sorted(worst) if incident.start <= day < incident.end]
    if incident in incidents.STORMS:
        days = [day for day in days if worst[day][0] >= incidents.STORM_SHARE]
    return days[0]


def test_real_incidents_follow_from_the_rows(worst: dict[float, tuple[float, float]]) -> None:
    for kind, place, limit in ((incidents.STORMS, 0, incidents.STORM_SHARE), (incidents.GAPS, 1, incidents.GAP_SHARE)):
        bad = {day for day, of in worst.items() if of[place] >= limit}
        assert bad == {day for day in bad if any(of.start <= day < of.end for of in kind)}
        for incident in kind:
            assert any(incident.start <= day < incident.end for day in bad), incident.name


def test_every_incident_is_found_in_the_first_window_that_shows_it(run: Any, worst: Any) -> None:
    alerts = findings.alerts_of(run[0])
    for incident in findings.covered(dataset.FIRST_DAY, LAST - 1):
        found = [alert for alert in alerts if findings.explains(incident, alert)]
        assert found, incident.name
        assert min(alert.window for alert in found) <= first_shown(incident, worst), incident.name
    assert len(findings.covered(dataset.FIRST_DAY, LAST - 1)) == len(incidents.ALL)


def test_critical_alerts_without_an_incident_are_at_most_one_a_month(run: Any) -> None:
    critical = [a for a in findings.alerts_of(run[0]) if a.severity == "critical" and not findings.beside(a)]
    assert max(Counter(a.fired[:7] for a in critical).values(), default=0) <= 1


def test_the_seasons_are_lasting_warnings_that_say_performance_did_not_follow(run: Any) -> None:
    summer = [a for a in findings.alerts_of(run[0]) if a.name == "feature-drift/temp flight_delays:1"]
    # Summer itself, warm days before it, and after it the warmest of November and of December.
    assert 1 <= len(summer) <= 5
    assert max(findings.seconds(a.resolved[:16] + "Z") - a.window for a in summer) > 120 * DAY
    assert all(a.severity == "warning" and "; performance did not follow" in a.figures for a in summer)


def test_values_that_are_missing_are_told_once(run: Any) -> None:
    (hour,) = (a for a in findings.alerts_of(run[0]) if a.name.endswith("/hour flight_delays:1") and "missing" in a.name)
    assert hour.name.startswith("missing-values/")
    assert hour.fired < "2013-05-07" < hour.resolved < "2013-05-11"


def test_no_alert_is_older_than_its_window(run: Any) -> None:
    for alert in run[0]:
        if alert["data"]["window"] is not None:
            assert alert["time"] > alert["data"]["window"]["start"]


def test_fixed_rules_cry_wolf(run: Any) -> None:
    """The footer's counts, against the same done by hand for one rule."""
    alerts, records, metrics = run
    text = findings.fixed_rules(records, metrics)
    newest = {r["window_start"]: r for r in records if r["model_version"].endswith(":1") and r["closed"]}
    quiet = [r for start, r in newest.items() if not findings.beside(findings.Alert("", "", findings.seconds(start), ""))]
    drifts = sum(f.get("psi", 0) > 0.2 for r in quiet for f in r["data"]["features"].values())
    drifts += sum(r["prediction"].get("psi", 0) > 0.2 for r in quiet)
    assert f"{drifts} false alarms" in text
    assert drifts > 20 * len(findings.alerts_of(alerts)) / 9
    table = findings.table(alerts, dataset.FIRST_DAY, LAST - 1)
    assert "not found" not in table
