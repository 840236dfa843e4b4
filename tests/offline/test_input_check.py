"""`models check --input`: what events say against the specs."""

import json
import random

import pytest

from support.events import START
from tidegauge.cli.main import main


def events(confidence, count=400, **more):
    rng = random.Random(2)
    lines = []
    for number in range(count):
        score = rng.random()
        predicted = int(score > 0.5)
        said = {"positive": score, "predicted": max(score, 1 - score)}[confidence]
        lines.append(
            {"request_id": f"r{number}", "ts": START, "model_version": "m:1", "prediction": predicted, "confidence": said}
            | more
        )
    return "\n".join(map(json.dumps, lines))


@pytest.mark.parametrize(
    ("confidence", "spec", "misread"),
    [
        ("positive", "task: binary", False),
        ("predicted", "task: binary", True),
        ("predicted", "{}", True),
        ("predicted", "task: binary\nconfidence_is: predicted", False),
        ("predicted", "task: multiclass", False),
    ],
)
def test_confidence_of_the_predicted_class_is_recognised(tmp_path, capsys, confidence, spec, misread):
    (tmp_path / "m.yaml").write_text("model: m\n" + spec.replace("{}", "windows: [1d]"))
    (tmp_path / "p.jsonl").write_text(events(confidence))
    assert main(["models", "check", str(tmp_path), "--input", str(tmp_path / "p.jsonl")]) == int(misread)
    said = capsys.readouterr().out
    assert ("say confidence_is: predicted" in said) == misread
    assert ("m: sound" in said) == (not misread)


@pytest.mark.parametrize(("scale", "told"), [(100, True), (1, False)])
def test_scores_in_percent_are_told(tmp_path, capsys, scale, told):
    (tmp_path / "m.yaml").write_text("model: m\ntask: binary\n")
    made = [{"request_id": f"r{number}", "ts": START, "model_version": "m:1", "prediction": 1, "score": number / 400 * scale}
            for number in range(400)]  # fmt: skip
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, made)))
    assert main(["models", "check", str(tmp_path), "--input", str(tmp_path / "p.jsonl")]) == int(told)
    assert ("99 % of the scores lie outside 0 to 1" in capsys.readouterr().out) == told


def test_few_events_say_nothing_and_refused_ones_are_told(tmp_path, capsys):
    (tmp_path / "m.yaml").write_text("model: m\ntask: binary\n")
    (tmp_path / "p.jsonl").write_text(events("predicted", count=20) + "\noops")
    assert main(["models", "check", str(tmp_path), "--input", str(tmp_path / "p.jsonl")]) == 1
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path / 'p.jsonl'}: 1 of 21 events would be refused: not_json"]
