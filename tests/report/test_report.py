"""Reports against a batch computation over the same events, from what `replay` writes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.alert.operations import Mark, encode
from tidegauge.engine.stage import ALERTS, INCIDENTS, LABELS, METRICS, PREDICTIONS
from tidegauge.errors import ReportError
from tidegauge.metrics.record import iso
from tidegauge.report import summary
from tidegauge.report.archive import Archive, alert_lives
from tidegauge.report.build import build
from tidegauge.report.page import render
from tidegauge.report.period import DAY, Period, moment, periods
from tidegauge.report.write import write
from tidegauge.spec import Condition, ModelSpec, MonitorSpec

SPEC = ModelSpec(
    "churn", task="binary", segments=(("region",),), windows=("6h", "1d"), grace=0.0,
    monitors=(MonitorSpec("errors", "system.error_ratio", "6h", Condition("above", high=0.3), min_count=20),),
)  # fmt: skip
DAYS = 4


def history(labels_until=None):
    """Outputs of the pipeline, and the rows behind them, of a few days; labels known by ``labels_until`` only."""
    rng = np.random.default_rng(7)
    rows = []
    for number in range(1200):
        ts = START + number / 1200 * DAYS * DAY
        score = float(rng.random())
        rows.append(
            (
                number,
                ts,
                score,
                int(rng.random() < score),
                "eu" if rng.random() < 0.3 else "us",
                ts + float(rng.exponential(DAY / 4)),
            )
        )
    pipeline = Pipeline(SPEC)
    events = [
        (
            ts,
            PREDICTIONS,
            prediction(
                n,
                ts,
                prediction=int(s > 0.5),
                score=s,
                segments={"region": region},
                features={"age": s * 50},
                error="no memory" if START + DAY <= ts < START + 1.25 * DAY else None,
            ),
        )
        for n, ts, s, _, region, _ in rows
    ]
    events += [
        (known, LABELS, {"request_id": f"r{n}", "ts": known, "label": label, "business": {"revenue": n}})
        for n, _, _, label, _, known in rows
        if labels_until is None or known < labels_until
    ]
    events.sort(key=lambda event: event[0])
    for place in range(0, len(events), 100):
        for topic in (PREDICTIONS, LABELS):
            pipeline.send(topic, [json.dumps(e).encode() for _, t, e in events[place : place + 100] if t == topic])
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline.outputs, rows


@pytest.fixture(scope="module")
def full():
    return history()


def files(outputs, directory):
    directory.mkdir(exist_ok=True)
    for topic, name in ((METRICS, "metrics"), (ALERTS, "alerts")):
        lines = b"".join(output.value + b"\n" for output in outputs if output.topic == topic)
        (directory / f"{name}.jsonl").write_bytes(lines)
    return directory


def whole_days(path):
    """The newest record of each day, whole model, by its start."""
    records = map(json.loads, path.read_text().splitlines())
    return {r["window_start"]: r for r in records if not r["segment"] and r["window"] == "1d"}


def archive(outputs, model="churn"):
    made = Archive(model, START - 40 * DAY, START + 40 * DAY)
    for output in outputs:
        if output.topic == METRICS:
            made.add_metric(output.value)
        elif output.topic == ALERTS:
            made.add_alert(output.value)
        elif output.topic == INCIDENTS:
            made.add_incident(output.value)
    return made


def test_a_report_begins_with_incidents_their_cause_since_when_for_whom_and_what_changed(full):
    outputs, _ = full
    period = Period(START, START + 3 * DAY)
    kept = archive(outputs)
    kept.add_mark(encode(Mark("1", "release 2.3", START + DAY - 3600, "ann", 0.0, "churn")))
    kept.add_mark(encode(Mark("2", "of another model", START + DAY, "ann", 0.0, "fraud")))
    report = build(kept, "churn", period, None)
    (incident,) = report["incidents"]
    failing = [e["data"] for o in outputs if o.topic == ALERTS and (e := json.loads(o.value))["data"]["status"] == "firing"]
    assert incident["starts_at"] == min(data["starts_at"] for data in failing)
    assert incident["title"].startswith("100 % of requests fail since ")
    assert incident["cause"] == "errors"
    assert incident["for_whom"] == ["churn_xgb:3 as a whole"]
    assert [change["text"] for change in incident["changes"]] == ["release 2.3"]
    page = render(report)
    assert (
        page.index("<h2>Incidents</h2>")
        < page.index(incident["title"])
        < page.index("release 2.3")
        < page.index("<h2>Alerts</h2>")
    )
    assert build(kept, "churn", Period(START, START + DAY), None)["incidents"] == []
    kept.incidents = None
    assert "the topic of incidents could not be read" in render(build(kept, "churn", period, None))


def test_a_report_says_which_other_models_have_the_same(full):
    outputs, _ = full
    kept = archive(outputs)
    for number, model in enumerate(("fraud", "churn")):
        cause = {"concern": "values", "alertname": "missing"}
        data = {
            "incident": str(number), "model": model, "status": "open", "severity": "critical", "title": "t", "ends_at": None,
            "starts_at": iso(START), "first_window_end": iso(START + DAY), "cause": cause, "concerns": ["values"],
            "features": ["age"], "sources": [], "runbook_url": "", "alerts": [{"model_version": f"{model}:1", "segment": ""}],
        }  # fmt: skip
        kept.add_incident(json.dumps({"data": data}).encode())
    report = build(kept, "churn", Period(START, START + DAY), None)
    (told,) = (incident for incident in report["incidents"] if incident["cause"] == "missing")
    assert told["other_models"] == ["fraud"]
    assert "The same in fraud" in render(report)


def test_numbers_of_a_period_are_those_of_a_batch_computation(full):
    outputs, rows = full
    period = Period(START, START + 2 * DAY)
    report = build(archive(outputs), "churn", period, None)
    chosen = [row for row in rows if row[1] < period.end]
    answered = [row for row in chosen if not START + DAY <= row[1] < START + 1.25 * DAY]
    (version,) = report["versions"]
    assert report["window"] == "1d"
    assert version["traffic"]["predictions"] == len(chosen)
    assert version["traffic"]["labels"] == len(chosen)
    assert version["traffic"]["error_ratio"] == pytest.approx(1 - len(answered) / len(chosen))
    # A failed inference has no score.
    labels, scores = [r[3] for r in answered], [r[2] for r in answered]
    performance = version["performance"]
    assert performance["brier"]["value"] == pytest.approx(brier_score_loss(labels, scores), abs=1e-9)
    assert performance["brier"]["exact"]
    assert not performance["roc_auc"]["exact"]
    assert performance["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=0.03)
    assert version["business"]["revenue"]["sum"] == sum(row[0] for row in chosen)
    eu = next(row for row in version["segments"] if row["segment"] == {"region": "eu"})
    part = [r for r in answered if r[4] == "eu"]
    assert eu["performance"]["brier"]["value"] == pytest.approx(
        brier_score_loss([r[3] for r in part], [r[2] for r in part]), abs=1e-9
    )
    (age,) = version["features"]
    assert age["mean"] == pytest.approx(np.mean([r[2] for r in chosen]) * 50)


def test_what_drifted_most_and_the_largest_gaps():
    def record(start, gap, between, **features):
        told = {"accuracy_gap": gap, "accuracy_gap_p_value": 0.5, "extremes": {"accuracy": between}}
        of = {name: {"count": 10, **numbers} for name, numbers in features.items()}
        return {"window_start": start, "data": {"features": of}, "fairness": {"region": told}}

    records = [
        record("2025-09-27", 0.1, ["eu", "us"], age={"shift": 0.2, "psi": 0.3}, plan={"mix_shift": 0.9, "psi": 0.1}),
        record("2025-09-28", 0.2, ["us", "eu"], age={"shift": 0.4, "psi": 0.1}, plan={"mix_shift": 0.5, "psi": 0.0}),
    ]
    found = summary.features(records)
    moved = [(row["feature"], row["shift"], row["shift_window"], row["psi"], row["psi_window"]) for row in found]
    assert moved == [("plan", 0.9, "2025-09-27", 0.1, "2025-09-27"), ("age", 0.4, "2025-09-28", 0.3, "2025-09-27")]
    assert summary.gaps(records) == [
        {"dimension": "region", "measure": "accuracy_gap", "value": 0.2, "p_value": 0.5, "between": ["us", "eu"],
         "window": "2025-09-28"}
    ]  # fmt: skip


def test_a_report_on_one_window_equals_a_batch_computation(full):
    outputs, rows = full
    report = build(archive(outputs), "churn", Period(START + 2 * DAY, START + 3 * DAY), None)
    chosen = [row for row in rows if START + 2 * DAY <= row[1] < START + 3 * DAY]
    performance = report["versions"][0]["performance"]
    assert all(of["exact"] for of in performance.values())
    assert performance["accuracy"]["value"] == pytest.approx(
        accuracy_score([r[3] for r in chosen], [r[2] > 0.5 for r in chosen])
    )
    before = [row for row in rows if START + 1.25 * DAY <= row[1] < START + 2 * DAY]
    change = next(c for c in report["versions"][0]["changes"] if c["metric"] == "performance.brier")
    assert change["before"] == pytest.approx(brier_score_loss([r[3] for r in before], [r[2] for r in before]))
    assert change["now"] == performance["brier"]["value"]


def test_a_day_that_is_not_over_for_the_stream_is_told_by_shorter_windows(full):
    """Nothing has come after it, so that event time has not passed its end: its own window has not been published."""
    outputs, rows = full
    day = Period(START + 3 * DAY, START + 4 * DAY)

    def known(output):
        if output.topic != METRICS:
            return True
        record = json.loads(output.value)
        return record.get("window") != "1d" or moment(record["window_start"]) < day.start

    report = build(archive([output for output in outputs if known(output)]), "churn", day, None)
    assert report["window"] == "6h"
    (version,) = report["versions"]
    assert version["traffic"]["predictions"] == sum(row[1] >= day.start for row in rows)


def test_what_late_labels_changed_is_told_by_the_next_report(full, tmp_path):
    early, _ = history(labels_until=START + 2 * DAY)
    outputs, _ = full
    reports = tmp_path / "reports"
    write("churn", [Period(START + DAY, START + 2 * DAY)], reports, lambda a: a.read(files(early, tmp_path / "early")))
    (page,) = write(
        "churn", [Period(START + 2 * DAY, START + 3 * DAY)], reports, lambda a: a.read(files(outputs, tmp_path / "late"))
    )
    report = json.loads(page.with_suffix(".json").read_text())
    known, now = (whole_days(tmp_path / name / "metrics.jsonl") for name in ("early", "late"))
    assert report["restatements_since"] == "2025-09-29T00:00:00Z"
    (entry,) = [e for e in report["restatements"] if e["window_start"] == "2025-09-28T00:00:00Z"]
    key = entry["window_start"]
    assert entry["labels"] == [known[key]["labels"], now[key]["labels"]]
    assert entry["labels"][0] < entry["labels"][1]
    assert entry["changes"]["performance.brier"] == [known[key]["performance"]["brier"], now[key]["performance"]["brier"]]


def test_alerts_have_one_life_each(full):
    outputs, _ = full
    found = alert_lives(archive(outputs).alerts, Period(START + DAY, START + 2 * DAY))
    assert [life["alertname"] for life in found] == ["errors"]
    assert found[0]["resolved"] is not None
    assert alert_lives(archive(outputs).alerts, Period(START + 3 * DAY, START + 4 * DAY)) == []


def test_a_hostile_name_stays_text(full):
    outputs, _ = full
    report = build(archive(outputs), "churn", Period(START + DAY, START + 2 * DAY), None)
    hostile = json.loads(json.dumps(report).replace("churn_xgb:3", "<script>alert(1)</script>"))
    page = render(hostile)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def test_periods_are_whole_days_weeks_or_as_given():
    now = moment("2025-10-01T12:00:00Z")
    assert [p.name for p in periods(None, None, "day", now)] == ["2025-09-30"]
    assert [p.name for p in periods(None, None, "week", now)] == ["2025-09-22_2025-09-28"]
    days = list(periods(moment("2025-09-27"), moment("2025-09-30"), "day", now))
    assert [p.name for p in days] == ["2025-09-27", "2025-09-28", "2025-09-29"]
    with pytest.raises(ReportError, match="no whole week"):
        list(periods(moment("2025-09-27"), moment("2025-09-30"), "week", now))
    with pytest.raises(ReportError, match="--from"):
        list(periods(None, None, None, now))


def test_the_command_writes_a_report_and_refuses_an_unknown_model(full, tmp_path):
    directory = files(full[0], tmp_path / "out")
    command = [
        sys.executable,
        "-m",
        "tidegauge",
        "report",
        "--replay",
        str(directory),
        "--output",
        str(tmp_path / "r"),
        "--model",
    ]
    done = subprocess.run(
        [*command, "churn", "--from", "2025-09-27", "--to", "2025-09-30", "--every", "day"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    lost = subprocess.run([*command, "chrun", "--from", "2025-09-27", "--to", "2025-09-30"], capture_output=True, text=True)
    assert lost.returncode == 1
    assert "known models: churn" in lost.stderr
