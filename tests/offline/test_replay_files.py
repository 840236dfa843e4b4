"""`replay` over files as people have them: nothing is lost without a word."""

import bz2
import gzip
import json
import lzma
import os
import random
import subprocess
import sys
import threading
from typing import NamedTuple

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tidegauge
from support.events import START, prediction
from tidegauge.cli.main import main
from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import Record
from tidegauge.offline.replay import Lines, time_of

DAY = 86400.0
SPEC = "model: churn\ntask: binary\nwindows: [1d]\nbaseline: {first: 100000}\n"


class Done(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def replay(tmp_path, capsys):
    models = tmp_path / "models"
    models.mkdir()
    (models / "churn.yaml").write_text(SPEC)

    def run(predictions, labels=None, **options):
        given = {"predictions": predictions, "labels": labels, "models": models, "output": tmp_path / "out", **options}
        status = main(["replay", *(f"--{name}={value}" for name, value in given.items() if value)])
        return Done(status, *capsys.readouterr())

    return run


def counted(directory):
    """Predictions by day, of the newest revision of each window."""
    lines = (directory / "out" / "metrics.jsonl").read_text().splitlines()
    newest = {r["window_start"]: r["predictions"] for r in map(json.loads, lines) if not r["segment"]}
    return sorted(newest.items())


def events(days=40, a_day=10):
    rng = random.Random(3)
    return [
        prediction(n, START + n * DAY / a_day, prediction=1, score=rng.random(),
                   features={"x": float("nan") if rng.random() < 0.3 else rng.random()})
        for n in range(days * a_day)
    ]  # fmt: skip


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_tokens_for_missing_numbers_lose_nothing_in_any_order(tmp_path, replay, token):
    lines = [json.dumps(event).replace("NaN", token) for event in events()]
    random.Random(4).shuffle(lines)
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    done = replay(tmp_path / "p.jsonl")
    assert done.returncode == 0, done.stderr
    assert [count for _, count in counted(tmp_path)] == [10] * 40
    assert "not counted" not in done.stdout


TIMES = st.one_of(
    st.floats(0, 4e9), st.integers(0, 4_000_000_000),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"), st.just("2025-09-27T02:00:00+02:00"),
    st.sampled_from([None, True, "soon", [], float("nan"), float("inf"), 10**400, -1.0, 1e300]),
)  # fmt: skip
VALUES = st.one_of(st.floats(), st.none(), st.text(max_size=3), st.integers(), st.lists(st.floats(), max_size=2))


@settings(max_examples=300, deadline=None)
@given(ts=TIMES, value=VALUES, junk=st.text(alphabet='{}",:\\a1 ', max_size=4), twice=st.booleans())
def test_a_line_is_sorted_by_the_ts_that_the_stage_reads(ts, value, junk, twice):
    event = {"request_id": "a", "ts": ts, "model_version": "m:1", "features": {"x": value}, "other": {"ts": 7, "y": value}}
    text = json.dumps(event)
    if twice:
        text = text[:-1] + ', "ts": 5}'
    line = (text + junk).encode()
    accepted, _, _ = Decoder(Prediction).chunk([Record(0, -1, None, line)])
    if accepted:
        assert time_of(line) == accepted[0].ts


def written(rows, name):
    text = "\n".join(json.dumps(event) for event in rows) + "\n"
    return {
        "plain": text.encode(),
        "no end": text.rstrip().encode(),
        "crlf": text.replace("\n", "\r\n").encode(),
        "cr": text.replace("\n", "\r").encode(),
        "blank": ("\n\n" + text.replace("\n", "\n \r\n")).encode(),
        "bom": text.encode("utf-8-sig"),
        "utf-16": text.encode("utf-16"),
        "gzip": gzip.compress(text.encode()),
        "bzip2": bz2.compress(text.encode()),
        "xz": lzma.compress(text.encode()),
        "array": json.dumps(rows).encode(),
        "array over lines": b"\xef\xbb\xbf\n" + json.dumps(rows, indent=2).encode(),
        "objects over lines": "\n".join(json.dumps(row, indent=1) for row in rows).encode(),
        "arrays after each other": json.dumps(rows[:40]).encode() + b"\n" + json.dumps(rows[40:]).encode() + b"\n \n",
        "arrow": arrow(rows),
    }[name]


def arrow(rows):
    sink = pyarrow.BufferOutputStream()
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.ipc.new_file(sink, table.schema) as file:
        file.write_table(table, max_chunksize=30)
    return sink.getvalue().to_pybytes()


KINDS = [
    "plain", "no end", "crlf", "cr", "blank", "bom", "utf-16", "gzip", "bzip2", "xz", "array", "array over lines",
    "objects over lines", "arrays after each other", "arrow",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["file", "pipe"])
def test_line_ends_marks_and_pipes(tmp_path, kind, way):
    rows = [prediction(n, START + n, score=0.5) for n in range(100)]
    path, raw, writer = tmp_path / "p.jsonl", written(rows, kind), None
    if way == "file":
        path.write_bytes(raw)
    else:
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(raw,))
        writer.start()
    lines = Lines(path)
    if writer:
        writer.join()
    assert [json.loads(record.value) for record in lines.records(np.arange(len(lines)))] == rows
    assert lines.times.tolist() == [row["ts"] for row in rows]


@pytest.mark.parametrize("first", ["[", "[1, 2", "{", "[]", '["no event"]'])
def test_a_line_that_looks_like_more_than_one_event_takes_no_other_with_it(tmp_path, replay, first):
    rows = [json.dumps(prediction(n, START + n, score=0.5)) for n in range(100)]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join([first, *rows]))
    done = replay(path)
    assert (done.returncode, counted(tmp_path)) == (0, [("2025-09-27T00:00:00Z", 100)])
    assert f"{int(first != '[]')} dead letters" in done.stdout


@pytest.mark.parametrize(
    ("begin", "said"),
    [(b"PK\x03\x04", "unpack"), (b"(\xb5/\xfd", "zstdcat"), (b"ORC", "Parquet"), (b"Obj\x01", "Parquet"),
     (b"ARROW1\0\0", "cannot be read as Arrow"), (b"BZh9", "cannot be read"), (b"\xfd7zXZ\0", "cannot be read")],
)  # fmt: skip
def test_a_file_of_another_form_is_refused_with_what_to_do(tmp_path, replay, begin, said):
    path = tmp_path / "p.csv"
    path.write_bytes(begin + b"\x00\x01" * 100)
    done = replay(path)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(("scale", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")])
def test_times_in_a_finer_unit_are_refused_with_its_name(tmp_path, replay, scale, unit):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(prediction(1, START * scale, score=0.5)))
    done = replay(path)
    assert done.returncode == 1
    assert f"Unix seconds are wanted, these may be {unit}" in done.stderr


def test_events_are_read_from_standard_input(tmp_path):
    raw = written([prediction(n, START + n, score=0.5) for n in range(100)], "gzip")
    done = subprocess.run(
        [sys.executable, "-m", "tidegauge", "replay", "--predictions=-", f"--output={tmp_path / 'out'}"],
        capture_output=True, timeout=60, check=False, input=raw,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"100 events")


def test_a_pattern_means_all_its_files(tmp_path, replay):
    rows = [prediction(n, START + n, score=0.5) for n in range(100)]
    random.Random(1).shuffle(rows)
    for part in range(4):
        text = "\n".join(json.dumps(row) for row in rows[part::4])
        (tmp_path / f"part-{part}.jsonl.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    assert replay(tmp_path / "part-*.gz").returncode == 0
    assert [count for _, count in counted(tmp_path)] == [100]
    nothing = replay(tmp_path / "none-*.gz")
    assert nothing.returncode == 1
    assert "no file matches" in nothing.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"[[]]", "not_an_object 1"),
        (b'{\n"ts": 1', "not_json 2"),
        (b'{"request_id": "a", "ts": 1, "label": 1}', "missing_member 1"),
    ],
)  # fmt: skip
def test_without_an_event_the_command_fails_and_says_why(tmp_path, replay, content, reason):
    (tmp_path / "p.jsonl").write_bytes(content)
    done = replay(tmp_path / "p.jsonl")
    assert done.returncode == 1
    assert "no event of the topic predictions could be read" in done.stderr
    assert reason in done.stderr


def test_directories_and_outputs_that_cannot_be(tmp_path, replay):
    (tmp_path / "p.jsonl").write_text(json.dumps(prediction(1, START)))
    inside = replay(tmp_path)
    assert inside.returncode == 1
    assert "is a directory; name its files" in inside.stderr
    (tmp_path / "out").write_text("")
    done = replay(tmp_path / "p.jsonl")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    both = replay("-", "-")
    assert both.returncode == 1
    assert "cannot both be read" in both.stderr


def test_the_closing_line_says_what_does_not_count_and_why(tmp_path, replay):
    rows = [prediction(n, START + n * DAY, score=0.5) for n in range(30)]
    # In the order of the file the last one is a month late; one is there twice, one has another's id; two are refused.
    given = [*rows, rows[3], rows[4] | {"ts": START + 5 * DAY}, {"ts": 1}, "oops", prediction(99, START)]
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in given))
    labels = [{"request_id": f"r{n}", "ts": START + n * DAY + 1, "label": 1} for n in (1, 1, 2, 77)]
    labels.append({"request_id": "r5", "ts": START + 20 * DAY, "label": 1})
    (tmp_path / "l.jsonl").write_text("\n".join(json.dumps(row) for row in labels))
    done = replay(tmp_path / "p.jsonl", tmp_path / "l.jsonl", order="file")
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("; not counted: ")[1].strip()
    assert set(said.split(", ")) == {
        "1 dead letters (missing_member)",
        "1 dead letters (not_an_object)",
        "1 predictions that were there already",
        "1 predictions whose request_id an earlier request had (an id must name one request)",
        "1 predictions too late for their windows",
        "1 labels that were there already",
        "1 labels past the label horizon",
        "1 labels without a prediction",
    }
    assert sum(count for _, count in counted(tmp_path)) == 30


def test_a_spec_without_an_event_and_labels_beside_predictions_are_told(tmp_path, replay, caplog):
    path = tmp_path / "p.jsonl"
    rows = [prediction(n, START + n, prediction=1, model="chrun", model_version="chrun:1", label=1) for n in range(100)]
    path.write_text("\n".join(map(json.dumps, rows)))
    done = replay(path)
    assert done.returncode == 0
    assert "no prediction is of model churn, which a spec is for; the predictions are of chrun" in done.stderr
    assert "predictions have a member label" in done.stderr
    labelled = replay(path, path)
    assert "member label" not in labelled.stderr
    tidegauge.replay(str(path), spec=SPEC)
    assert "of model churn" in caplog.text
    assert "member label" in caplog.text


def test_nothing_is_told_where_nothing_is_wrong(tmp_path, replay):
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps(prediction(n, START + n, prediction=1)) for n in range(100)))
    assert replay(path).stderr == ""
