"""The commands, as a shell sees them."""

import json
import os
import subprocess
import sys

import pytest

from support.events import START, prediction


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tidegauge", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["demo", "broker", "worker", "baseline build", "models check", "models apply",
                                     "models list", "models init", "produce", "replay", "alerts", "doctor", "card",
                                     "rollback", "act", "ingest"])  # fmt: skip
def test_every_command_explains_itself(command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: tidegauge")


def test_wrong_usage_is_2_and_failure_is_1(tmp_path):
    assert run("replay").returncode == 2
    assert run("nonsense").returncode == 2
    failed = run("replay", "--predictions", tmp_path / "none.jsonl", "--output", tmp_path)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "none.jsonl: cannot be read" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "worker --metrics-prt 3",
            "tidegauge worker: error: unrecognized arguments: --metrics-prt (did you mean --metrics-port?), 3",
        ),
        (
            "models check a b",
            "tidegauge models check: error: unrecognized arguments: b; tidegauge models check --help shows all",
        ),
    ],
)
def test_an_unknown_flag_is_refused_by_its_command_with_the_nearest_one(arguments, said):
    done = run(*arguments.split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(said)


def test_no_broker_is_one_line():
    failed = run("models", "list", "--bootstrap", "127.0.0.1:1")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "tidegauge: Kafka at 127.0.0.1:1" in failed.stderr


def test_a_bad_environment_is_refused():
    failed = run("worker", TIDEGAUGE_LOG_FORMAT="jsn")
    assert failed.returncode == 2
    assert "is not one of json, text" in failed.stderr


def test_replay_writes_records_alerts_and_dead_letters_of_files(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "churn.yaml").write_text(
        "model: churn\ntask: binary\nwindows: [5m]\n"
        "monitors: [{name: acc, metric: performance.accuracy, window: 5m, below: 0.9, min_count: 10}]\n"
    )
    rows = [prediction(i, START + i, prediction=1, score=0.8) for i in range(100)]
    labels = [{"request_id": f"r{i}", "ts": START + i + 5, "label": int(i % 2 == 0)} for i in range(100)]
    for name, events in (("p", rows), ("l", labels)):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps(e) + "\n" for e in events) + ("oops\n" if name == "p" else "")
        )
    done = run(
        "replay", "--models", models, "--predictions", tmp_path / "p.jsonl", "--labels", tmp_path / "l.jsonl",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = {n: (tmp_path / "out" / f"{n}.jsonl").read_text().splitlines() for n in ("metrics", "alerts", "dead-letters")}
    assert json.loads(out["metrics"][-1])["performance"]["accuracy"] == 0.5
    assert [json.loads(line)["data"]["labels"]["alertname"] for line in out["alerts"]] == ["acc"]
    assert json.loads(out["dead-letters"][0])["reason"] == "not_json"


def test_models_check_names_the_place(tmp_path):
    (tmp_path / "a.yaml").write_text("model: a\ngrase: 1m\n")
    done = run("models", "check", tmp_path)
    assert done.returncode == 1
    assert "a.yaml:2: grase" in done.stdout
    assert "grace" in done.stdout


def test_a_baseline_that_no_spec_names_is_told(tmp_path):
    spec, baseline, rows = tmp_path / "m.yaml", tmp_path / "m-1.baseline.json", tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps(prediction(number, START + number, model_version="churn:3")) + "\n" for number in range(300))
    )
    spec.write_text("model: churn\n")
    build = "baseline", "build", "--spec", spec, "--version", "churn:3", "--input", rows, "--output", baseline
    advice = "say there: baseline: m-1.baseline.json"
    assert advice in run(*build).stderr
    assert advice in run("models", "check", tmp_path).stderr
    with spec.open("a") as file:
        file.write("baseline: m-1.baseline.json\n")
    assert run(*build).stderr == run("models", "check", tmp_path).stderr == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tidegauge mod", {"models"}),
        ("tidegauge models ", {"init", "check", "apply", "list"}),
        ("tidegauge report --car", {"--card"}),
    ],
)
def test_a_shell_completes_commands_and_flags(tmp_path, typed, offered):
    """As bash asks by the function that `register-python-argcomplete tidegauge` defines."""
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)), "COMP_TYPE": "9", "_ARGCOMPLETE_SHELL": "bash",
    }  # fmt: skip
    subprocess.run([sys.executable, "-m", "tidegauge"], env=os.environ | asked, capture_output=True, timeout=60, check=True)
    assert {word.strip() for word in answer.read_text().split("\n")} >= offered
