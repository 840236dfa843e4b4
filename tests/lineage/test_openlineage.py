"""OpenLineage events of baselines and reports, as a real HTTP server gets them from the commands."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from support.events import START, prediction
from support.servers import Receiver

ROWS = 100


@pytest.fixture
def files(tmp_path):
    (tmp_path / "churn.yaml").write_text("model: churn\ntask: binary\nwindows: [1h]\n")
    rows = [prediction(n, START + n, features={"age": n % 50}, score=n % 7 / 7, model_version="churn:1") for n in range(ROWS)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def tidegauge(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENLINEAGE")}
    return subprocess.run(
        [sys.executable, "-m", "tidegauge", *map(str, arguments)], env=clean | environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


def build(files, **environment):
    return tidegauge(
        "baseline", "build", "--spec", files / "churn.yaml", "--version", "churn:1", "--input", files / "train.jsonl",
        "--output", files / "churn.json", **environment,
    )  # fmt: skip


def sound(path, event):
    """What OpenLineage requires of every event of a run (RunEvent of its specification)."""
    assert path == "/api/v1/lineage"
    assert UUID(event["run"]["runId"])
    assert event["eventTime"].endswith("+00:00")
    assert "OpenLineage.json#/$defs/RunEvent" in event["schemaURL"]
    assert event["producer"].startswith("https://")
    for facets in (event["run"]["facets"], event["job"]["facets"]):
        assert all({"_producer", "_schemaURL"} <= facet.keys() for facet in facets.values())


def test_a_baseline_tells_what_it_was_made_of(files):
    with Receiver() as catalogue:
        done = build(files, OPENLINEAGE_URL=catalogue.url, OPENLINEAGE_NAMESPACE="growth")
        assert (done.returncode, done.stderr.count("OpenLineage")) == (0, 0), done.stderr
        for path, event in catalogue.received:
            sound(path, event)
        (_, begun), (_, complete) = catalogue.received
    assert (begun["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert begun["run"]["runId"] == complete["run"]["runId"]
    assert (complete["job"]["namespace"], complete["job"]["name"]) == ("growth", "baseline build churn")
    assert complete["job"]["facets"]["jobType"]["jobType"] == "BASELINE"
    read = {(of["namespace"], of["name"]): of["inputFacets"]["inputStatistics"]["size"] for of in complete["inputs"]}
    assert read == {("file", str(files / name)): (files / name).stat().st_size for name in ("churn.yaml", "train.jsonl")}
    (wrote,) = complete["outputs"]
    assert (wrote["namespace"], wrote["name"]) == ("file", str(files / "churn.json"))
    statistics = wrote["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (ROWS, (files / "churn.json").stat().st_size)
    tags = {tag["key"]: tag["value"] for tag in complete["run"]["facets"]["tags"]["tags"]}
    assert {"model": "churn", "model_version": "churn:1"}.items() <= tags.items()


def test_a_command_that_fails_says_so(files):
    (files / "train.jsonl").write_text("")
    with Receiver() as catalogue:
        done = build(files, OPENLINEAGE_URL=catalogue.url)
        states = [event["eventType"] for _, event in catalogue.received]
        error = catalogue.received[-1][1]["run"]["facets"]["errorMessage"]
    assert done.returncode == 1
    assert states == ["START", "FAIL"]
    assert error["message"].split(": ", 1)[1] in done.stderr


def test_a_report_tells_what_it_read_and_wrote(files):
    done = tidegauge("replay", "--models", files, "--predictions", files / "train.jsonl", "--output", files / "replayed")
    assert done.returncode == 0, done.stderr
    with Receiver() as catalogue:
        done = tidegauge(
            "report", "--model", "churn", "--from", "2025-09-27", "--to", "2025-09-28", "--replay", files / "replayed",
            "--output", files / "reports", OPENLINEAGE_URL=catalogue.url,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for path, event in catalogue.received:
            sound(path, event)
        complete = catalogue.received[-1][1]
    assert complete["job"]["name"] == "report churn"
    assert {Path(of["name"]).name for of in complete["inputs"]} >= {"metrics.jsonl", "alerts.jsonl"}
    wrote = {of["name"] for of in complete["outputs"]}
    assert wrote == {str(path) for path in (files / "reports").iterdir()}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
def test_a_catalogue_that_is_away_stops_nothing(files, url):
    done = build(files, OPENLINEAGE_URL=url)
    assert done.returncode == 0, done.stderr
    assert "note: OpenLineage events cannot be sent" in done.stderr
    assert (files / "churn.json").exists()


def test_nobody_is_told_anything_unless_that_is_asked_for(files):
    with Receiver() as catalogue:
        assert build(files).returncode == 0
        assert build(files, OPENLINEAGE_URL="").returncode == 0
        assert catalogue.received == []
