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
        ]
        lines = [json.dumps(event) for event in (*events[:65], *refused, *events[65:])]
        lines.insert(3, '{"request_id": "x", "features": {"email": "' + EMAIL + '", "phone": "' + PHONE)
        (tmp_path / "p.jsonl").write_text("\n".join(lines) + "\n")
        output = tmp_path / "out"
        assert main(["replay", "--models", str(tmp_path / "models"), "--predictions", str(tmp_path / "p.jsonl"),
                     "--output", str(output)]) == 0  # fmt: skip
        texts = {path.stem: path.read_text() for path in output.glob("*.jsonl")}
        assert len(texts["dead-letters"].splitlines()) == 5
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
    by_reason = {letter["reason"]: letter["value"] for letter in letters}
    assert json.loads(by_reason["bad_timestamp"])["features"] == {"email": hashed, "age": 41}
    assert "withheld" in by_reason["not_json"]


def test_without_a_key_what_is_to_be_hashed_is_dropped_and_said(replayed, caplog):
    texts = replayed(None)
    assert "email" not in json.loads(texts["metrics"].splitlines()[0])["data"]["features"]
    assert "churn: email is dropped, since there is no key to hash it with; set TIDEGAUGE_PII_KEY_FILE" in caplog.text


def test_a_key_that_is_none_is_refused(replayed, capsys):
    with pytest.raises(AssertionError):
        replayed(b"short")
    assert "shorter than 16 bytes; openssl rand -hex 32 makes a key" in capsys.readouterr().err
