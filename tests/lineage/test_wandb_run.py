"""Runs of Weights & Biases as wandb 0.31 wrote them (``support/wandb_runs.py``), whole, torn and damaged."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.events import START, prediction
from tidegauge.baseline.baseline import Baseline
from tidegauge.cli.main import main
from tidegauge.errors import RegistryError
from tidegauge.lineage.wandb_run import is_run, read_run
from tidegauge.spec import Lineage

RUNS = {path.name.split(".")[0]: gzip.decompress(path.read_bytes()) for path in Path("tests/fixtures/wandb").glob("*.gz")}
COMMIT = "c02dbd08be31e264a7dcda8a487ed4dc2f9b2357"
WHOLE = Lineage(
    "growth/churn/nightly1", COMMIT, "churn-train@1ee0902734a47486fa5507f4970c82d1",
    "https://wandb.ai/growth/churn/runs/nightly1", {"depth": "6", "source": '{"table":"churn"}', "kind": "gbm"},
)  # fmt: skip


def written(directory, log):
    file = directory / "run-nightly.wandb"
    file.write_bytes(log)
    return file


def test_a_run_says_path_commit_data_and_what_was_set_last(tmp_path, monkeypatch):
    file = written(tmp_path, RUNS["run-nightly1"])
    assert read_run(str(file)) == read_run(str(tmp_path)) == WHOLE
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example/")
    assert read_run(str(file)).url == "https://wandb.example/growth/churn/runs/nightly1"


def test_a_run_of_several_blocks_that_knows_no_entity(tmp_path):
    file = written(tmp_path, RUNS["run-nightly2"])
    assert file.stat().st_size > 3 * 32768
    found = read_run(str(file))
    assert (found.run_id, found.commit, found.url) == ("churn/nightly2", COMMIT, None)
    assert found.parameters == {"long": "x" * 100_000, "depth": "4", "rate": "0.1"}


@given(st.sampled_from(sorted(RUNS)), st.data())
def test_a_torn_run_says_what_it_had_written_and_a_damaged_one_nothing_wrong(tmp_path_factory, name, data):
    log, directory = RUNS[name], tmp_path_factory.mktemp("run")
    whole = read_run(str(written(directory, log)))
    for changed in (log[: data.draw(st.integers(0, len(log)))], _flipped(log, data.draw(st.integers(0, 8 * len(log) - 1)))):
        try:
            found = read_run(str(written(directory, changed)))
        except RegistryError:
            continue
        assert found.run_id == whole.run_id
        assert found.commit == whole.commit
        assert found.data_snapshot in (None, whole.data_snapshot)
        assert found.parameters.keys() <= whole.parameters.keys()


def _flipped(log, bit):
    changed = bytearray(log)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("content", [b"", b":W&B\xe1\xbe\x00", b"SQLite format 3\0", b":W&B\xe1\xbe\x00" + b"\0" * 40])
def test_what_is_no_run_is_refused(tmp_path, content):
    file = written(tmp_path, content)
    with pytest.raises(RegistryError, match="run"):
        read_run(str(file))


def test_a_baseline_has_its_lineage(tmp_path):
    run = tmp_path / "offline-run-20261128_100000-nightly1"
    run.mkdir()
    written(run, RUNS["run-nightly1"])
    assert is_run(str(run))
    assert not is_run(str(tmp_path))
    (tmp_path / "churn.yaml").write_text("model: churn\ntask: binary\n")
    rows = [prediction(n, START + n, features={"age": n % 50}, score=n % 7 / 7, model_version="churn:1") for n in range(100)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    built = ["baseline", "build", "--spec", str(tmp_path / "churn.yaml"), "--version", "churn:1",
             "--input", str(tmp_path / "train.jsonl"), "--output", str(tmp_path / "churn.json")]  # fmt: skip
    assert main([*built, "--lineage", str(run)]) == 0
    assert Baseline.from_json((tmp_path / "churn.json").read_bytes()).lineage == WHOLE
    assert main([*built, "--lineage", str(tmp_path / "nowhere")]) == 1
