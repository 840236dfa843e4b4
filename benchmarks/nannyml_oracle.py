"""What NannyML's own CBPE says of the data sets it ships, for the tests to compare with.

NannyML cannot be installed beside tidegauge, so it has an environment of its own (`make tests/fixtures/nannyml_cbpe.json`
makes both). Neither its estimator nor ours looks at more of a row than score, predicted class and outcome, so rows are
written as counts of these. The data sets are NannyML's (Apache-2.0, https://github.com/NannyML/nannyml).
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")

import nannyml  # noqa: E402

CHUNK = 5000
METRICS = ["accuracy", "precision", "recall", "f1", "roc_auc"]
DATA_SETS = {
    "synthetic_sample": (nannyml.load_synthetic_binary_classification_dataset, "work_home_actual"),
    "synthetic_car_loan": (nannyml.load_synthetic_car_loan_dataset, "repaid"),
}


def main(path: Path) -> None:
    found = {name: data_set(load, outcome) for name, (load, outcome) in DATA_SETS.items()}
    said = {"nannyml": nannyml.__version__, "chunk_size": CHUNK, "data_sets": found}
    path.write_text(json.dumps(said, separators=(",", ":")) + "\n", "utf-8")


def data_set(load: Any, outcome: str) -> dict[str, Any]:
    reference, analysis, truth = load()
    analysis = analysis.merge(truth, on="id")
    estimator = nannyml.CBPE(
        y_pred_proba="y_pred_proba", y_pred="y_pred", y_true=outcome, metrics=METRICS, chunk_size=CHUNK,
        problem_type="classification_binary",
    )  # fmt: skip
    estimator.fit(reference)
    result = estimator.estimate(analysis).filter(period="analysis").to_df()
    columns = ["y_pred_proba", "y_pred", outcome]
    chunks = [
        {
            "rows": counted(analysis[columns].iloc[int(row["chunk", "start_index"]) : int(row["chunk", "end_index"]) + 1]),
            "estimated": {metric: row[metric, "value"] for metric in METRICS},
            "realized": {metric: row[metric, "realized"] for metric in METRICS},
        }
        for _, row in result.iterrows()
    ]
    return {"calibrated": bool(estimator.needs_calibration), "reference": counted(reference[columns]), "chunks": chunks}


def counted(rows: Any) -> list[list[float]]:
    """[score, predicted class, outcome, count] of each kind of row."""
    counts = Counter(map(tuple, rows.to_numpy().tolist()))
    return [[score, int(predicted), int(actual), count] for (score, predicted, actual), count in sorted(counts.items())]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
