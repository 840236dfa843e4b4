"""The history of features says of each which number went beyond its limit when."""

import json

from tidegauge.report.feature_history import feature_history

LIMITS = [{"metric": "data.features.temp.shift", "high": 2.0}, {"metric": "data.features.temp.missing_ratio", "high": 0.05}]


def history(*windows):
    """Of windows with (shift, missing ratio) of ``temp``; (None, 1.0): it is missing altogether."""
    records = {}
    for day, (shift, missing) in enumerate(windows, 1):
        told = (
            {"missing_features": ["temp"]}
            if shift is None
            else {"features": {"temp": {"shift": shift, "missing_ratio": missing}}}
        )
        records[f"2026-01-{day:02}"] = json.dumps({"data": told}).encode()
    [row] = feature_history(records, LIMITS)["features"]
    return row


def test_the_first_number_beyond_its_limit_is_not_the_one_furthest_beyond():
    row = history((1.0, 0.0), (2.4, 0.01), (3.0, 0.0), (None, 1.0))
    assert row["values"] == [0.5, 1.2, 1.5, 10.0]
    assert (row["since"], row["why"], row["furthest"]) == ("2026-01-02", "shift", "missing_ratio")


def test_of_two_numbers_beyond_their_limits_in_one_window_the_further_one_is_named():
    row = history((0.0, 0.0), (2.2, 0.4), (6.0, 0.0))
    assert (row["since"], row["why"], row["furthest"]) == ("2026-01-02", "missing_ratio", "missing_ratio")


def test_a_feature_within_its_limits_names_no_number():
    assert history((2.0, 0.05), (0.1, 0.0)) == {"feature": "temp", "values": [1.0, 0.05]}
