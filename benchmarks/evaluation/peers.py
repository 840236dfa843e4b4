"""The other monitors on the same arrays, with their defaults. Runs in .venv-peers: reads names of npz files from its input,
writes each one's verdicts beside it.

In: ``reference_*`` and ``watched_*`` arrays ``numbers`` (n, F), ``categories`` (n, 2), ``score``, ``label`` (n), ``rows`` a
window, and ``chosen``: which windows Evidently, whose tests take longest, is asked about. Out, for windows W and columns C:
``evidently`` and ``nannyml`` (W, C) scores over their thresholds, above 1 is drift; ``evidently_missing``, ``nannyml_missing``
(W, F) the same for missing values; ``evidently_quality``, ``nannyml_quality`` (W, M) for performance (M is 0 without labels).
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import nannyml
import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

CLASSES = ("c0", "c1")
P_VALUES = ("ks", "chisquare", "z")
"""Tests of Evidently whose score is a p-value: small is drift."""
EVIDENTLY_QUALITY = 0.2
"""Evidently's default tests of classification metrics: within 20 % of the reference."""
EVIDENTLY_MISSING = 0.1
"""Its default tests of missing values: within 10 % of the reference."""


def frame(held: Any, part: str) -> pd.DataFrame:
    numbers = held[f"{part}_numbers"]
    columns: dict[str, Any] = {f"x{i}": numbers[:, i] for i in range(numbers.shape[1])}
    columns |= {
        name: np.char.add("v", codes.astype(str)) for name, codes in zip(CLASSES, held[f"{part}_categories"].T, strict=True)
    }
    score = held[f"{part}_score"]
    columns |= {"score": score, "prediction": (score >= 0.5).astype(int), "label": held[f"{part}_label"]}
    return pd.DataFrame(columns)


def drift_columns(data: pd.DataFrame) -> list[tuple[str, ColumnType]]:
    return [
        (name, ColumnType.Categorical if name in CLASSES else ColumnType.Numerical)
        for name in data.columns
        if name not in ("prediction", "label")
    ]


def evidently_scores(reference: pd.DataFrame, windows: list[pd.DataFrame]) -> np.ndarray:
    """Drift of each column of each window, over its threshold: what DataDriftPreset calls, without its plots."""
    out = []
    before = {name: reference[name].dropna() for name, _ in drift_columns(reference)}
    # Which test it is depends on the reference's size and on whether there are more than five values: not on the window.
    tests = {name: get_stattest(before[name], windows[0][name].dropna(), kind, None) for name, kind in drift_columns(reference)}
    for window in windows:
        row = []
        for name, kind in drift_columns(reference):
            test = tests[name]
            found = test(before[name], window[name].dropna(), kind, None)
            p_value = test.name in ("ks", "chisquare", "z")
            ratio = (
                found.actual_threshold / max(found.drift_score, 1e-300)
                if p_value
                else found.drift_score / found.actual_threshold
            )
            row.append(ratio)
        out.append(row)
    return np.array(out)


def evidently_agrees(reference: pd.DataFrame, window: pd.DataFrame, scores: np.ndarray) -> bool:
    """Whether a full report says the same of the window as the direct calls did."""
    columns = drift_columns(reference)
    names = [name for name, _ in columns]
    definition = DataDefinition(
        numerical_columns=[name for name, kind in columns if kind == ColumnType.Numerical], categorical_columns=list(CLASSES)
    )
    datasets = [Dataset.from_pandas(of[names].reset_index(drop=True), definition) for of in (window, reference)]
    metrics = Report([DataDriftPreset()]).run(*datasets).dict()["metrics"]
    found = {m["config"]["column"]: float(m["value"]) / m["config"]["threshold"] for m in metrics if "column" in m["config"]}
    return bool(np.allclose([found[name] for name in names], scores))


def evidently_missing(reference: pd.DataFrame, windows: list[pd.DataFrame]) -> np.ndarray:
    names = [name for name in reference.columns if name.startswith("x")]
    expected = reference[names].isna().mean().to_numpy()
    found = np.array([window[names].isna().mean().to_numpy() for window in windows])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.abs(found / expected - 1) / EVIDENTLY_MISSING, nan=0.0, posinf=1e9)


def quality(data: pd.DataFrame) -> list[float]:
    told = (data["label"], data["prediction"])
    kinds = (accuracy_score, precision_score, recall_score, f1_score)
    return [*(float(kind(*told)) for kind in kinds), float(roc_auc_score(data["label"], data["score"]))]


def evidently_quality(reference: pd.DataFrame, windows: list[pd.DataFrame]) -> np.ndarray:
    before = np.array(quality(reference))
    return np.array([np.abs(np.array(quality(window)) / before - 1) / EVIDENTLY_QUALITY for window in windows])


def beyond(result: Any, methods: list[tuple[str, str]]) -> np.ndarray:
    """How far each (column, metric) of NannyML's result lies from the middle of its thresholds, over the distance allowed."""
    data = result.filter(period="analysis").to_df()
    out = []
    for path in methods:
        of = data[path[0]] if path[1] == "" else data[path[0]][path[1]]
        value = of["value"].astype(float).to_numpy()
        upper = pd.to_numeric(of["upper_threshold"]).to_numpy(float)
        lower = pd.to_numeric(of["lower_threshold"]).to_numpy(float)
        above = value / upper
        # A distance has no lower threshold that it could fall below; a performance metric may have none above (1 is the most).
        below = np.where(np.isnan(lower), 0.0, (2 * lower > value) * lower / np.maximum(value, 1e-12))
        out.append(np.fmax(np.nan_to_num(above), np.nan_to_num(below)))
        alert = of["alert"].to_numpy(bool)
        assert ((out[-1] > 1) == alert).all(), path
    return np.stack(out, axis=1)


def judge(file: Path) -> None:
    held = np.load(file)
    reference, watched = frame(held, "reference"), frame(held, "watched")
    rows = int(held["rows"])
    windows = [watched.iloc[start : start + rows] for start in range(0, len(watched), rows)]
    columns = [name for name, _ in drift_columns(reference)]
    numbers = [name for name in columns if name.startswith("x")]
    chosen = [windows[place] for place in held["chosen"]]
    out = {"evidently": evidently_scores(reference, chosen)}
    if bool(held["check"]):
        assert evidently_agrees(reference, chosen[0], out["evidently"][0]), "a report says something else"
    univariate = nannyml.UnivariateDriftCalculator(column_names=columns, treat_as_categorical=list(CLASSES), chunk_size=rows)
    result = univariate.fit(reference).calculate(watched)
    out["nannyml"] = beyond(result, [(name, "jensen_shannon") for name in columns])
    missing = nannyml.MissingValuesCalculator(column_names=numbers, chunk_size=rows)
    out["nannyml_missing"] = beyond(missing.fit(reference).calculate(watched), [(name, "") for name in numbers])
    out["evidently_missing"] = evidently_missing(reference, chosen)
    none = np.zeros((len(windows), 0))
    out["evidently_quality"] = out["nannyml_quality"] = none
    if bool(held["labels"]):
        out["evidently_quality"] = evidently_quality(reference, chosen)
        told = {"y_true": "label", "y_pred": "prediction", "y_pred_proba": "score"}
        metrics = ["roc_auc", "accuracy"]
        calculator = nannyml.PerformanceCalculator(
            metrics=metrics, problem_type="classification_binary", chunk_size=rows, **told
        )
        out["nannyml_quality"] = beyond(calculator.fit(reference).calculate(watched), [(name, "") for name in metrics])
    np.savez(file.with_suffix(".verdicts.npz"), **out)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    print(f"ready evidently {__import__('evidently').__version__} nannyml {nannyml.__version__}", flush=True)
    for line in sys.stdin:
        judge(Path(line.strip()))
        print(line.strip(), flush=True)
