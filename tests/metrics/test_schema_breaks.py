"""Columns that the training data had and requests do not, and the other way round."""

import numpy as np
import pandas as pd
import pytest

import tidegauge
from support.events import START

SPEC = {"model": "m", "task": "binary", "windows": ["1h"]}
ROWS = 2000


def table(values, start):
    number = np.arange(ROWS)
    return pd.DataFrame(
        {
            "request_id": [f"{start}-{row}" for row in number],
            "ts": start + number * 4 * 3600.0 / ROWS,
            "model_version": "m:1",
            "prediction": number % 2,
            "score": number % 100 / 100,
            "x": values,
        }
    )


NOTHING = pd.Series([None] * ROWS, dtype="float64")
NO_TEXT = pd.Series([None] * ROWS, dtype="string")
NUMBERS = pd.Series(np.arange(ROWS) % 50 / 10)
TEXTS = pd.Series(np.array(list("abcd"))[np.arange(ROWS) % 4])


@pytest.mark.parametrize(
    ("reference", "live", "missing", "unexpected"),
    [
        (NOTHING, NUMBERS, [], ["x"]), (NO_TEXT, TEXTS, [], ["x"]), (NOTHING, NOTHING, [], []), (NO_TEXT, NO_TEXT, [], []),
        (NUMBERS, NOTHING, ["x"], []), (TEXTS, NO_TEXT, ["x"], []), (NUMBERS, NUMBERS, [], []), (TEXTS, TEXTS, [], []),
        (NUMBERS.where(NUMBERS.index == 7), NUMBERS, [], []),
    ],
)  # fmt: skip
def test_a_column_without_a_value_in_the_training_data_is_as_one_that_is_not_there(reference, live, missing, unexpected):
    baseline = tidegauge.build_baseline(table(reference, START - 86400.0), SPEC)
    run = tidegauge.replay(table(live, START), spec=SPEC, baseline=baseline)
    for record in run.records:
        assert record["data"]["missing_features"] == missing
        assert record["data"]["unexpected_features"] == unexpected
    fired = set(run.alerts["alertname"])
    assert ("missing-feature" in fired, "unexpected-feature" in fired) == (bool(missing), bool(unexpected))
