"""docs/slo.md: its specs are accepted as they stand, and fire when, and only when, their objective is missed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tidegauge.engine.stage import ALERTS, METRICS, Output
from tidegauge.models.directory import records_of
from tidegauge.models.read import check_directory
from tidegauge.models.read_monitors import SpecContext, monitors
from tidegauge.models.registry import Registry, encode
from tidegauge.models.yaml_reader import Problem, parse
from tidegauge.offline.replay import Lines, Replay

PAGE = (Path(__file__).parents[2] / "docs" / "slo.md").read_text("utf-8")
FIXED, PREVIOUS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WEEK = 604800.0 * 2908
A_DAY = 1500


def day(rng: np.random.Generator, number: int, **wrong: float) -> list[dict[str, Any]]:
    """A quarter of an hour of one day's traffic, outcomes included."""
    score = rng.beta(0.4, 0.4, A_DAY)
    truth = (rng.random(A_DAY) < np.where(rng.random(A_DAY) < wrong.get("noise", 0.0), 0.5, score)).astype(int)
    return [
        {
            "request_id": f"{number}-{i}", "ts": WEEK + 86400 * number + 3600 + 900 * i / A_DAY, "model_version": "churn:1",
            "score": float(score[i]), "prediction": int(score[i] > 0.5),
            "latency_ms": 100 * wrong.get("slow", 1.0) * rng.random(),
            "features": {"age": rng.normal(40 + wrong.get("shift", 0.0), 10), "plan": "abc"[i % 3]}, "label": int(truth[i]),
            "business": {"converted": int(rng.random() < 0.2 * wrong.get("conversion", 1.0))},
        }
        for i in range(A_DAY)
    ]  # fmt: skip


def command(*arguments: str) -> None:
    line = [sys.executable, "-m", "tidegauge", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lines(path: Path, events: list[dict[str, Any]]) -> Lines:
    path.write_text("\n".join(map(json.dumps, events)), "utf-8")
    return Lines(path)


def alerts(directory: Path, events: list[dict[str, Any]]) -> set[tuple[str, str, int]]:
    """Name, feature and day of each alert that fires when the events pass by."""
    models = Registry()
    for record in records_of(directory):
        models.apply(record.model.encode(), encode(record))
    outputs: list[Output] = []
    outcome = ("label", "business")
    known = [{name: event[name] for name in ("request_id", *outcome)} | {"ts": event["ts"] + 600} for event in events]
    plain = [{name: of for name, of in event.items() if name not in outcome} for event in events]
    Replay(models, outputs.append).run(lines(directory / "p", plain), lines(directory / "l", known))
    found = [json.loads(output.value)["data"] for output in outputs if output.topic == ALERTS and output.value]
    assert [output for output in outputs if output.topic == METRICS]
    starts = np.array([np.datetime64(of["window"]["start"][:-1]) for of in found if of["status"] == "firing"])
    days = ((starts.astype("datetime64[s]").astype(float) - WEEK) // 86400).astype(int).tolist() if len(starts) else []
    names = [(of["labels"]["alertname"], of["labels"].get("feature", "")) for of in found if of["status"] == "firing"]
    return {(name, feature, number) for (name, feature), number in zip(names, days, strict=True)}


def test_the_spec_is_accepted_and_each_objective_fires_when_it_is_missed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    models = tmp_path / "models"
    models.mkdir()
    (models / "churn.yaml").write_text(FIXED, "utf-8")
    reference = [event for number in range(-21, 0) for event in day(rng, number)]
    lines(tmp_path / "reference.jsonl", reference)
    command("baseline", "build", "--spec", str(models / "churn.yaml"), "--version", "churn:1",
            "--input", str(tmp_path / "reference.jsonl"), "--output", str(models / "churn-1.baseline.json"))  # fmt: skip
    command("models", "check", str(models))
    wrong: dict[int, dict[str, float]] = {
        8: {"shift": 10.0}, 9: {"slow": 4.0}, 10: {"conversion": 0.7}, **{number: {"noise": 0.6} for number in (11, 12, 13)},
    }  # fmt: skip
    events = [event for number in range(14) for event in day(rng, number, **wrong.get(number, {}))]
    assert alerts(models, events) == {
        ("psi-daily", "age", 8), ("latency-p95", "", 9), ("conversion", "", 10), ("auc-weekly", "", 7),
    }  # fmt: skip


def test_the_spec_without_reference_data_is_accepted_and_fires(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    (tmp_path / "churn.yaml").write_text(PREVIOUS, "utf-8")
    command("models", "check", str(tmp_path))
    events = [event for number in range(10) for event in day(rng, number, **({"shift": 10.0} if number == 9 else {}))]
    assert alerts(tmp_path, events) == {("psi-daily", "age", 9)}


@pytest.mark.parametrize("written", re.findall(r"\| `(\{metric: .*?\})` \|", PAGE))
def test_the_other_objectives_are_monitors(tmp_path: Path, written: str) -> None:
    given = yaml.safe_load(written) | {"name": "a"}
    (tmp_path / "monitors.yaml").write_text(yaml.safe_dump([given]), "utf-8")
    problems: list[Problem] = []
    document = parse(tmp_path / "monitors.yaml", problems)
    assert document is not None
    found = monitors(document, SpecContext("binary", ("5m", "1d", "7d"), (("region",),)))
    assert (len(found), problems) == (1, [])


METRIC_PAGES = sorted((Path(__file__).parents[2] / "docs" / "metrics").glob("*.md"))


@pytest.mark.parametrize("page", METRIC_PAGES, ids=lambda page: page.stem)
def test_what_the_pages_of_the_metrics_show_is_accepted(tmp_path: Path, page: Path) -> None:
    """Their YAML is a spec, or monitors of one. What needs a baseline in a file finds none here."""
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)):
        given = yaml.safe_load(block)
        spec = {"monitors": given} if isinstance(given, list) else given
        kpis = {"revenue": {"winsorise": [0, 500]}, "basket": {"ratio": ["revenue", "orders"]}}
        spec = {
            "model": "m",
            "kpis": kpis,
            "windows": ["5m", "1h", "1d", "7d"],
            "segments": ["region", ["region", "device"]],
        } | spec
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(spec), "utf-8")
        problems = [problem for problem in check_directory(tmp_path) if "baseline" not in problem.message]
        assert problems == [], block
        (tmp_path / f"{number}.yaml").unlink()
