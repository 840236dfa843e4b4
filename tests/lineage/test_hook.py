"""Hooks: signed, tried again with the same id, and what they answer is told."""

import hashlib
import hmac
import json

import pytest

from support.hooks import Receiver
from tidegauge.errors import RegistryError
from tidegauge.lineage import hook
from tidegauge.lineage.rolling_back import plan
from tidegauge.spec import ModelSpec


def test_a_call_is_tried_again_with_the_same_id_and_signed():
    pauses = []
    with Receiver(503, 429, 200) as receiver:
        answer = hook.call(receiver.url, b'{"to": "churn:1"}', "s3cret", "id-1", pauses.append)
    assert (answer.status, answer.text) == (200, "said 200")
    assert pauses == [1.0, 2.0]
    for headers, body in receiver.received:
        assert headers["X-Tidegauge-Delivery"] == "id-1"
        expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
        assert headers["X-Tidegauge-Signature"] == f"sha256={expected}"
    assert len({body for _, body in receiver.received}) == 1


def test_a_refusal_is_final_and_its_words_are_told():
    with Receiver(403) as receiver, pytest.raises(RegistryError, match="403 Forbidden: said 403"):
        hook.call(receiver.url, b"{}", "s3cret", "id-1", lambda seconds: None)
    assert len(receiver.received) == 1


def test_a_hook_is_given_up_after_four_attempts():
    with Receiver(500, 500, 500, 500) as receiver, pytest.raises(RegistryError, match="did not take it in 4 attempts: 500"):
        hook.call(receiver.url, b"{}", "s3cret", "id-1", lambda seconds: None)
    with pytest.raises(RegistryError, match="did not take it in 4 attempts"):
        hook.call("http://127.0.0.1:1/", b"{}", "s3cret", "id-1", lambda seconds: None)


def test_a_spec_with_a_hook_needs_a_secret(monkeypatch):
    monkeypatch.delenv("TIDEGAUGE_HOOK_SECRET", raising=False)
    with Receiver(200) as receiver:
        spec = ModelSpec("churn", rollback=receiver.url)
        with pytest.raises(RegistryError, match="set TIDEGAUGE_HOOK_SECRET"):
            plan(spec, "churn:1")
        monkeypatch.setenv("TIDEGAUGE_HOOK_SECRET", "s3cret")
        assert plan(spec, "churn:1").carry_out() == "the hook answered 200: said 200"
    (sent,) = receiver.received
    assert {"action": "roll_back", "model": "churn", "to": "churn:1"}.items() <= json.loads(sent[1]).items()


@pytest.mark.parametrize("wrong", ["models:/churn/3", "models:/@champion", "models:/a@b@c"])
def test_a_rollback_that_names_no_alias(wrong):
    with pytest.raises(RegistryError, match="names no alias"):
        plan(ModelSpec("churn", rollback=wrong), "churn:1")
