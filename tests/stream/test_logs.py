"""What a worker's log leaves out, and what it never does."""

from __future__ import annotations

import logging

from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from tidegauge.stream.logs import AGAIN_SECONDS, RepeatedMessageFilter


def said(lines):
    """Of (seconds, logger, text, arguments) those that pass, as they read then."""
    sieve, out = RepeatedMessageFilter(), []
    for at, name, text, args in lines:
        record = logging.LogRecord(name, logging.ERROR, "", 0, text, args, None)
        record.created = at
        if sieve.filter(record):
            out.append(record.getMessage())
    return out


def test_a_broker_that_is_away_is_one_line_and_then_one_a_minute():
    lines = []
    for tenth in range(1500):
        at = tenth / 10
        lines += [
            (at, "aiokafka", "Unable connect to node with id %s: %s", (1, OSError("refused"))),
            (at, "aiokafka", "Unable to update metadata from %s", ([1],)),
            (at, "aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", (1, NodeNotReadyError())),
            (at, "aiokafka.consumer.group_coordinator", "Group Coordinator Request failed: %s", (KafkaConnectionError(),)),
        ]
    out = said(lines)
    assert len(out) == 3
    assert out[0] == "Unable connect to node with id 1: refused"
    assert out[1].endswith(f"(and {int(AGAIN_SECONDS) * 10 * 4 - 1} lines like it since the last)")


def test_what_is_another_matter_and_what_we_say_ourselves_pass_always():
    away = ("aiokafka", "Unable to update metadata from %s", ([1],))
    ours = [(1.0, "tidegauge.stream.worker", "worker reads %s", ("b",))] * 3
    other = (2.0, "aiokafka.consumer.fetcher", "Not authorized to read from topic %s.", ("t",))
    assert len(said([(0.0, *away), *ours, other, (3.0, *away), other])) == 5
