"""Reports from the topics equal those from what `replay` wrote of the same events; a scheduler's flow makes them too."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.traffic import RECORD, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS

ROOT = Path(__file__).parents[2]
DATES = ["--from", "2025-09-27T00:00:00Z", "--to", "2025-09-27T00:10:00Z"]
PREFECT, AIRFLOW = ROOT / ".venv-prefect", ROOT / ".venv-airflow"


@pytest.fixture(scope="module")
def served(broker, tmp_path_factory):
    """A cluster that has processed some traffic and stopped, and what `replay` makes of the same events."""
    directory = tmp_path_factory.mktemp("reports")
    cluster = Cluster(broker, f"reports-{random.randrange(10**6)}", directory)
    cluster.apply(RECORD)
    events, end = traffic(11, 1500)
    cluster.start(0)
    cluster.send(events + end)
    cluster.wait_for_predictions(sum(topic == PREDICTIONS for topic, _ in events), "1m")
    assert cluster.stop() == [0]
    (directory / "replay").mkdir()
    records = replayed(events + end, directory)
    (directory / "replay/metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records.values()))
    (directory / "replay/alerts.jsonl").write_text("")
    return cluster


def environment(cluster):
    topics = {f"TIDEGAUGE_{name.upper().replace('-', '_')}_TOPIC": topic for name, topic in cluster.settings.topics.items()}
    return os.environ | topics | {"TIDEGAUGE_BOOTSTRAP": cluster.settings.bootstrap}


def test_from_the_topics_as_from_replay(served):
    documents, cards = {}, {}
    for name, flags in (("topics", []), ("replay", ["--replay", str(served.directory / "replay")])):
        output = served.directory / name / "reports"
        told = tidegauge(served, "report", "--model", "churn", *DATES, "--output", str(output), "--card", *flags)
        page, card, _ = map(Path, told.splitlines())
        documents[name], cards[name] = json.loads(page.with_suffix(".json").read_text()), card.read_text()
    live, replay = documents["topics"], documents["replay"]
    assert [v["model_version"] for v in live["versions"]] == [v["model_version"] for v in replay["versions"]]
    for mine, theirs in zip(live["versions"], replay["versions"], strict=True):
        for member in ("predictions", "labels", "error_ratio"):
            assert mine["traffic"][member] == theirs["traffic"][member]
        for metric, of in theirs["performance"].items():
            assert mine["performance"][metric]["value"] == pytest.approx(of["value"], abs=1e-9)
        assert mine["business"] == theirs["business"]
    assert {life["alertname"] for life in live["alerts"]} >= {"errors"}
    numbers = {name: [line for line in card.splitlines() if line.startswith("| accuracy |")] for name, card in cards.items()}
    assert numbers["topics"] == numbers["replay"] != []


def tidegauge(cluster, *command):
    """What a command says."""
    done = subprocess.run(
        [sys.executable, "-m", "tidegauge", *command], env=environment(cluster), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_mark_is_told_with_the_incident_that_began_then(served, tmp_path):
    """As `tidegauge mark` writes it into the topic and `report` reads it."""
    command = ("report", "--model", "churn", *DATES, "--output", str(tmp_path))
    before = json.loads(Path(tidegauge(served, *command).strip()).with_suffix(".json").read_text())["incidents"]
    assert before
    app = ("--app-id", f"reports-{random.randrange(10**6)}")
    tidegauge(served, "mark", "release 2.3", "--model", "churn", "--at", "2025-09-27T00:01:00Z", *app)
    tidegauge(served, "mark", "of another model", "--model", "fraud", "--at", "2025-09-27T00:01:00Z", *app)
    told = json.loads(Path(tidegauge(served, *command, *app).strip()).with_suffix(".json").read_text())["incidents"]
    assert [incident["incident"] for incident in told] == [incident["incident"] for incident in before]
    for incident, was in zip(told, before, strict=True):
        mark = {"time": "2025-09-27T00:01:00Z", "kind": "mark", "text": "release 2.3"}
        assert mark in [{name: change[name] for name in mark} for change in incident["changes"]]
        assert len(incident["changes"]) == len(was["changes"]) + 1


def installed(scheduler):
    """Make the environment of a scheduler where it is not there yet."""
    if not (scheduler / ".ready").exists():
        subprocess.run(["make", f"{scheduler.name}/.ready"], cwd=ROOT, check=True, timeout=900)


def test_the_prefect_flow_writes_a_report(served, tmp_path):
    installed(PREFECT)
    flow = [
        str(PREFECT / "bin/python"),
        str(ROOT / "deploy/prefect/report_flow.py"),
        "--model",
        "churn",
        "--output",
        str(tmp_path / "out"),
    ]
    settings = environment(served) | {
        "TIDEGAUGE_COMMAND": str(Path(sys.executable).with_name("tidegauge")), "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200",
    }  # fmt: skip
    done = subprocess.run(
        [*flow, "--from", "2025-09-27", "--to", "2025-09-28"], env=settings, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = Path(done.stdout.splitlines()[-1])
    assert page.parent == tmp_path / "out"
    assert json.loads(page.with_suffix(".json").read_text())["model"] == "churn"
    assert "churn_xgb:3" in page.read_text()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_airflow_dag_writes_reports_and_cards(served, tmp_path):
    installed(AIRFLOW)
    settings = environment(served) | {
        "TIDEGAUGE_COMMAND": str(Path(sys.executable).with_name("tidegauge")), "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "deploy/airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }  # fmt: skip

    def airflow(*arguments):
        command = [AIRFLOW / "bin/airflow", *arguments]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    airflow("db", "migrate")
    # Its log is on standard output too, before the answer.
    assert airflow("dags", "list-import-errors", "--output", "json").splitlines()[-1] == "[]"
    given = {"models": ["churn"], "output": str(tmp_path / "out"), "dates": ["--from", "2025-09-27", "--to", "2025-09-28"]}
    airflow("dags", "test", "tidegauge_reports", "2026-11-28", "--conf", json.dumps(given))
    (report,) = (tmp_path / "out/day").glob("churn*.json")
    assert json.loads(report.read_text())["model"] == "churn"
    assert any((tmp_path / "out/cards").iterdir())
