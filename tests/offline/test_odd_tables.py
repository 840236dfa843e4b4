"""Tables as people have them: row numbers without a name, blanks in the header, ids that became floats, rows cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tidegauge as tg
from support.events import START
from tidegauge.errors import SourceError

N = 120
SPEC = {"model": "m", "task": "binary", "windows": ["1h"]}


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(2)
    score = rng.random(N).round(6)
    predictions = pd.DataFrame(
        {"request_id": range(N), "ts": START + np.arange(N), "model_version": "m:1", "prediction": (score > 0.5).astype(int),
         "score": score, "age": rng.integers(18, 90, N), "plan": rng.choice(["basic", "pro"], N)}
    )  # fmt: skip
    labels = pd.DataFrame(
        {"request_id": range(N), "ts": START + np.arange(N) + 60, "label": (rng.random(N) < score).astype(int)}
    )
    return predictions, labels


@pytest.fixture(scope="module")
def plain() -> list[dict[str, Any]]:
    return tg.replay(*tables(), spec=SPEC).records


def replayed(tmp_path: Path, predictions: str, labels: Any = None, **spec: Any) -> list[dict[str, Any]]:
    (tmp_path / "p.csv").write_text(predictions)
    return tg.replay(tmp_path / "p.csv", tables()[1] if labels is None else labels, spec=SPEC | spec).records


def test_row_numbers_without_a_name_are_no_feature(
    tmp_path: Path, plain: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    predictions, _ = tables()
    assert replayed(tmp_path, predictions.to_csv()) == plain
    assert "left out a column: no name, as of row numbers" in caplog.text
    # Read and written again by pandas, that column has a name.
    again = pd.read_csv(tmp_path / "p.csv")
    assert replayed(tmp_path, again.to_csv(index=False)) == plain
    assert tg.replay(again, tables()[1], spec=SPEC).records == plain
    assert "left out Unnamed: 0: no name" in caplog.text
    kept = replayed(tmp_path, again.to_csv(index=False), features={"Unnamed: 0": {"type": "number"}})
    assert "Unnamed: 0" in kept[0]["data"]["features"], "the spec wants it"


@pytest.mark.parametrize("mark", [", ", "; ", ",", " ,"])
def test_blanks_about_names_and_cells_are_none_of_theirs(tmp_path: Path, plain: list[dict[str, Any]], mark: str) -> None:
    text = tables()[0].to_csv(index=False).split("\n")
    header = text[0].replace(",", mark)
    rows = [line.replace(",", mark.rstrip() if mark.startswith(" ") else mark).replace(" ,", ",") for line in text[1:]]
    assert replayed(tmp_path, "\n".join([header, *rows])) == plain


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ids_that_became_floats_are_whole_numbers(tmp_path: Path, plain: list[dict[str, Any]], ending: str) -> None:
    predictions, labels = tables()
    labels["request_id"] = labels["request_id"].astype(float)
    path = tmp_path / f"l.{ending}"
    (labels.to_csv if ending == "csv" else labels.to_parquet)(path, index=False)
    assert replayed(tmp_path, predictions.to_csv(index=False), path) == plain


@pytest.mark.parametrize("cut", [3, 8])
def test_rows_of_another_length_are_refused_with_their_place(tmp_path: Path, cut: int) -> None:
    lines = tables()[0].to_csv(index=False).split("\n")
    lines[7] = ",".join([*lines[7].split(","), "more"][:cut])
    with pytest.raises(SourceError, match=rf"p.csv: row 7 has {cut} cells, the first line names 7"):
        replayed(tmp_path, "\n".join(lines))
