"""`pii: drop` and `hash`: nothing that is kept has what a person could be known by."""

from __future__ import annotations

import hmac
import json

import pytest

from support.events import START, prediction
from tidegauge.cli.main import main

SPEC = "model: churn\ntask: binary\nwindows: [1m]\nfeatures:\n  email: {type: category, pii: hash}\n  phone: {pii: drop}\n"
EMAIL, PHONE = "ada@example.org", "+44 20 7946 0000"
SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def replayed(tmp_path, monkeypatch, caplog):
    def run(secret):
        if secret is None:
            monkeypatch.delenv("TIDEGAUGE_PII_KEY_FILE", raising=False)
        else:
            (tmp_path / "key").write_bytes(secret + b"\n")
            monkeypatch.setenv("TIDEGAUGE_PII_KEY_FILE", str(tmp_path / "key"))
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / "churn.yaml").write_text(SPEC)
        features = {"email": EMAIL, "phone": PHONE, "age": 41}
        events = [prediction(n, START + n, features=features, prediction=1, score=0.5) for n in range(70)]
        refused = [
            {**events[0], "ts": -1.0},
            {**events[1], "request_id": ""},
            {**events[2], "model_version": 7},
            {**events[3], "features": [EMAIL, PHONE]},
            {**events[4], "ts": -1.0, "features": None, "features_summary": features},
            {**events[5], "ts": -1.0, "features": {"age": 41}, **features},
            {**events[6], "ts": -1.0, "features": {"contact": {"ways": [features]}}},
            {**events[7], "ts": -1.0, "model": "not known", "segments": features},
            {**events[8], "ts": -1.0, "prediction": features},
            {"specversion": "1.0", "data": events[9]},
            [events[10]],
        ]
        lines = [json.dumps(event) for event in (*events[:65], *refused, *events[65:])]
        lines.insert(3, '{"request_id": "x", "features": {"email": "' + EMAIL + '", "phone": "' + PHONE)
        (tmp_path / "p.jsonl").write_text("\n".join(lines) + "\n")
        output = tmp_path / "out"
        assert main(["replay", "--models", str(tmp_path / "models"), "--predictions", str(tmp_path / "p.jsonl"),
                     "--output", str(output)]) == 0  # fmt: skip
        texts = {path.stem: path.read_text() for path in output.glob("*.jsonl")}
        assert len(texts["dead-letters"].splitlines()) == 12
        for text in (*texts.values(), caplog.text):
            assert EMAIL not in text
            assert PHONE not in text
        return texts

    return run


def test_a_hash_needs_the_key(replayed):
    texts = replayed(SECRET)
    hashed = hmac.digest(SECRET, EMAIL.encode(), "sha256")[:8].hex()
    first = json.loads(texts["metrics"].splitlines()[0])
    assert first["data"]["features"]["email"]["distinct"] == 1
    assert "phone" not in first["data"]["features"]
    letters = [json.loads(line) for line in texts["dead-letters"].splitlines()]
    assert "withheld" in next(letter["value"] for letter in letters if letter["reason"] == "not_json")
    first, summary, flat, nested, other = (
        json.loads(letter["value"]) for letter in letters if letter["reason"] == "bad_timestamp"
    )
    odd = next(event for letter in letters if "r8" in letter["value"] and (event := json.loads(letter["value"])))
    kept = {"email": hashed, "age": 41}
    assert first["features"] == summary["features_summary"] == other["segments"] == odd["prediction"] == kept
    assert {name: flat[name] for name in ("email", "phone", "age")} == dict.fromkeys(("email", "phone", "age"), "withheld")
    assert nested["features"] == {"contact": {"ways": [kept]}}


def test_numbers_are_hashed_and_dropped_too_and_a_baseline_from_before_brings_none_back(tmp_path, monkeypatch):
    """The baseline was built of the features before they were declared personal."""
    (tmp_path / "key").write_bytes(SECRET)
    monkeypatch.setenv("TIDEGAUGE_PII_KEY_FILE", str(tmp_path / "key"))
    numbers = {"account": 447911123456.0, "salary": 98765.0, "email": EMAIL, "phone": PHONE}

    def write(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def events(began):
        return [
            prediction(n, began + n, features=numbers | {"age": n % 50}, prediction=n % 2, score=n % 9 / 9) for n in range(200)
        ]

    write("before.jsonl", events(START - 86400))
    write("p.jsonl", [*events(START), prediction(999, START + 7200)])
    spec = "model: churn\ntask: binary\nwindows: [1m]\n"
    (tmp_path / "models").mkdir()
    (tmp_path / "models/churn.yaml").write_text(spec)
    assert main(["baseline", "build", "--spec", str(tmp_path / "models/churn.yaml"), "--version", "churn_xgb:3", "--input",
                 str(tmp_path / "before.jsonl"), "--output", str(tmp_path / "before.json")]) == 0  # fmt: skip
    assert EMAIL in (tmp_path / "before.json").read_text()
    declared = (
        "features:\n  account: {type: number, pii: hash}\n  salary: {pii: drop}\n  email: {pii: hash}\n  phone: {pii: drop}\n"
    )
    for name, more in (("without", ""), ("with", "baseline: ../before.json\n")):
        (tmp_path / "models/churn.yaml").write_text(spec + declared + more)
        output = tmp_path / name
        assert main(["replay", "--models", str(tmp_path / "models"), "--predictions", str(tmp_path / "p.jsonl"),
                     "--output", str(output)]) == 0  # fmt: skip
        text = (output / "metrics.jsonl").read_text()
        for marked in (EMAIL, PHONE, "4479111", "98765"):
            assert marked not in text
        features = json.loads(text.splitlines()[0])["data"]["features"]
        assert features["email"]["distinct"] == 1
        assert not {"salary", "phone"} & features.keys()
        assert ("account" in features) == (name == "without")
        assert "mean" not in features.get("account", {})


def test_without_a_key_what_is_to_be_hashed_is_dropped_and_said(replayed, caplog):
    texts = replayed(None)
    assert "email" not in json.loads(texts["metrics"].splitlines()[0])["data"]["features"]
    assert "churn: email is dropped, since there is no key to hash it with; set TIDEGAUGE_PII_KEY_FILE" in caplog.text


def test_a_key_that_is_none_is_refused(replayed, capsys):
    with pytest.raises(AssertionError):
        replayed(b"short")
    assert "shorter than 16 bytes; openssl rand -hex 32 makes a key" in capsys.readouterr().err
