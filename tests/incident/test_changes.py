"""What changed when an incident began: marks, versions and baselines, near it and of its model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from support.schemas import mistakes
from tidegauge.alert.operations import Mark, Note, Operations, encode
from tidegauge.cli.main import main
from tidegauge.incident.changes import BEFORE, MAX_TOLD, Change, at_the_time, seen_in
from tidegauge.metrics.record import iso

DAY = 86400.0


def record(day: float, version: str = "m:1", source: str = "reference", window: str = "1d") -> dict[str, Any]:
    return {
        "model": "m", "model_version": version, "segment": {}, "window": window, "window_start": iso(day * DAY),
        "compared_with": {"source": source},
    }  # fmt: skip


def test_a_version_that_comes_later_is_a_change_and_the_first_one_is_none() -> None:
    records = [record(1), record(2), record(2, "m:2"), record(3), record(3, "m:2"), record(2, "m:2", window="1h")]
    random.Random(3).shuffle(records)
    assert seen_in(records) == [Change(2 * DAY, "version", "m:2 serves for the first time", "m")]


def test_another_kind_of_baseline_is_a_change() -> None:
    found = seen_in([record(1, source="none"), record(2, source="none"), record(3, source="first"), record(4, source="first")])
    assert found == [Change(3 * DAY, "baseline", "m:1 is compared with a first baseline, with none before", "m")]


def test_only_what_is_near_and_of_the_model_is_told_oldest_first() -> None:
    changes = [
        Change(10 * DAY + 60, "mark", "after"), Change(10 * DAY - 60, "mark", "before", "m"),
        Change(10 * DAY, "mark", "other", "n"), Change(10 * DAY - BEFORE - 1, "mark", "long before"),
        Change(10 * DAY + BEFORE + 1, "mark", "long after"),
    ]  # fmt: skip
    assert [told["text"] for told in at_the_time(changes, "m", 10 * DAY)] == ["before", "after"]
    many = [Change(10 * DAY - n, "mark", str(n)) for n in range(100)]
    assert [told["text"] for told in at_the_time(many, "m", 10 * DAY)] == [str(n) for n in reversed(range(MAX_TOLD))]


def test_a_mark_stands_until_it_is_taken_back_and_is_what_the_schema_says() -> None:
    held, mark = Operations(), Mark("1", "release 2.3", 10 * DAY, "ann", 11 * DAY, "m")
    assert mistakes("operation", json.loads(encode(mark))) == []
    held.apply(mark.key, encode(mark))
    assert held.marks == {"1": mark}
    held.apply(mark.key, None)
    assert held.marks == {}


def test_a_note_is_of_all_its_incidents_and_what_the_schema_says() -> None:
    held = Operations()
    notes = [Note("2", ("a", "b"), "it is back", "ann", 20.0), Note("1", ("a",), "the feed is down", "bob", 10.0)]
    for note in notes:
        assert mistakes("operation", json.loads(encode(note))) == []
        held.apply(note.key, encode(note))
    assert (held.notes_on("a"), held.notes_on("b"), held.notes_on("c")) == ([notes[1], notes[0]], [notes[0]], [])
    held.apply(notes[0].key, None)
    assert held.notes_on("b") == []


def test_the_command_adds_to_what_replay_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--at", "1970-01-11", "--model", "m", "--replay", str(tmp_path)]
    assert main(["mark", "release  2.3", *arguments]) == 0
    assert capsys.readouterr().out == "1970-01-11T00:00:00Z  m  release 2.3\n"
    assert main(["mark", "back to 2.2", *arguments]) == 0
    lines = [json.loads(line) for line in (tmp_path / "marks.jsonl").read_text().splitlines()]
    assert [(line["text"], line["ts"], line["model"]) for line in lines] == [
        ("release 2.3", 10 * DAY, "m"), ("back to 2.2", 10 * DAY, "m"),
    ]  # fmt: skip
    assert len({line["id"] for line in lines}) == 2
    with pytest.raises(SystemExit):
        main(["mark", " ", *arguments])
