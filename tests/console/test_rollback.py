"""Rolling a model back from the console: shown first, done once it is confirmed, audited before and after."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from support.hooks import Receiver
from support.serving import WATCHED, fed, outputs, running
from tidegauge.console.view import View
from tidegauge.engine.stage import MODELS, Output
from tidegauge.models.registry import ModelRecord, encode

PATH = "/api/v1/models/churn/rollback"


def told(url):
    """What the topics say of a model whose rollback is a hook."""
    record = ModelRecord(WATCHED.model, replace(WATCHED, rollback=url))
    return [Output(MODELS, WATCHED.model.encode(), encode(record)), *(output for output in outputs() if output.topic != MODELS)]


def test_nothing_is_done_until_it_is_confirmed(monkeypatch):
    monkeypatch.setenv("TIDEGAUGE_HOOK_SECRET", "s3cret-of-the-hook")
    with Receiver(200) as receiver, running(fed(View(), told(receiver.url))) as console:
        for confirm in ({}, {"confirm": ""}, {"confirm": "churn_xgb:2"}):
            status, _, said = console.ask(PATH, "POST", {"to": "churn_xgb:1", **confirm})
            assert (status, said) == (200, {"done": False, "step": f"the hook {receiver.url} is called", "answer": ""})
        assert not receiver.received
        status, _, said = console.ask(PATH, "POST", {"to": "churn_xgb:1", "confirm": "churn_xgb:1"})
        assert (status, said["done"], said["answer"]) == (200, True, "the hook answered 200: said 200")
        ((_, body),) = receiver.received
        assert {"action": "roll_back", "model": "churn", "to": "churn_xgb:1"}.items() <= json.loads(body).items()
        (line,) = console.audit()
        assert (line["action"], line["target"], line["outcome"]) == ("roll back", "churn", "accepted")
        assert line["details"]["to"] == "churn_xgb:1"


def test_what_the_hook_refuses_is_told_and_audited(monkeypatch):
    monkeypatch.setenv("TIDEGAUGE_HOOK_SECRET", "s3cret-of-the-hook")
    with Receiver(403) as receiver, running(fed(View(), told(receiver.url))) as console:
        status, _, said = console.ask(PATH, "POST", {"to": "churn_xgb:1", "confirm": "churn_xgb:1"})
        assert status == 502
        assert "said 403" in said["error"]
        assert [line["outcome"] for line in console.audit()] == ["accepted", "refused"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/models/none/rollback", {"to": "x"}, 404),
        (PATH, {}, 400),
        (PATH, {"to": "churn_xgb:1", "confirm": "churn_xgb:1"}, 502),
    ],
)
def test_what_cannot_be_done_says_why(monkeypatch, path, body, status):
    monkeypatch.delenv("TIDEGAUGE_HOOK_SECRET", raising=False)
    with running(fed(View(), told("https://deploy.example/roll-back"))) as console:
        assert console.ask(path, "POST", body)[0] == status
        assert console.audit()[-1]["outcome"] == "refused"


def test_files_cannot_be_rolled_back():
    with running(fed(View(), outputs()), read_only=True) as console:
        assert console.ask(PATH, "POST", {"to": "churn_xgb:1"})[0] == 409
