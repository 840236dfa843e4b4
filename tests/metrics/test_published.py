"""What is published of a segment is as near to the computed number as its digits promise, and less of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegauge.metrics.interval import Interval
from tidegauge.metrics.published import LOCATIONS, RELATIVE, RESTATING, STANDARD_SCORES, published

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)
SPREADS = st.floats(1e-6, 1e12)
RATIOS = st.floats(0.0, 1.0, allow_subnormal=False)


def feature(numbers: dict[str, float], *, segment: bool) -> dict[str, Any]:
    record = published({"data": {"features": {"x": numbers}}}, segment=segment)
    found: dict[str, Any] = record["data"]["features"]["x"]
    return found


@given(NUMBERS, NUMBERS, SPREADS, st.lists(RATIOS, min_size=len(RELATIVE) - 1, max_size=len(RELATIVE) - 1))
def test_a_segments_numbers_are_as_near_as_their_digits_promise(
    mean: float, median: float, std: float, ratios: list[float]
) -> None:
    numbers = {"mean": mean, "p50": median, "std": std} | dict(zip(sorted(RELATIVE - {"std"}), ratios, strict=True))
    said = feature(numbers, segment=True)
    for name in RELATIVE:
        assert abs(said[name] - numbers[name]) <= 5.001e-5 * abs(numbers[name])
    for name in LOCATIONS:
        # Beside the rounding, that of a float as large as the number is, which has seven significant digits.
        assert abs(said[name] - numbers[name]) <= 5.001e-5 * std + 5.001e-7 * abs(numbers[name])


@given(NUMBERS, SPREADS, RATIOS)
def test_the_whole_model_keeps_seven_digits_and_what_people_look_at(mean: float, std: float, ratio: float) -> None:
    numbers = {"mean": mean, "std": std, "missing_ratio": ratio} | dict.fromkeys(RESTATING, ratio)
    said = feature(numbers, segment=False)
    assert set(said) == set(numbers)
    assert said["missing_ratio"] == ratio
    for name, number in numbers.items():
        assert abs(said[name] - number) <= 5.001e-7 * abs(number)


def test_a_segment_leaves_out_what_restates_others_and_ratios_of_faults_it_has_not() -> None:
    faults = {"missing_ratio": 0.0, "unseen_ratio": 0.0, "out_of_range_ratio": 0.25}
    said = feature(
        {"count": 4, "psi": 0.1, "shift": 0.2} | faults | dict.fromkeys(RESTATING | STANDARD_SCORES, 0.3), segment=True
    )
    assert said == {"count": 4, "missing_ratio": 0, "out_of_range_ratio": 0.25, "psi": 0.1, "shift": 0.2}


def test_standard_scores_are_in_no_record_wherever_they_stand() -> None:
    drift = {"shift": 0.5, "shift_p_value": 0.25, "shift_z": {"location": 2.0}, "chi_square_ratio": 1.5}
    record = {
        "performance": {"f1": 0.5}, "performance_z": {"f1": -1.0}, "prediction": drift, "label_mix": drift,
        "recent": {"data": {"features": {"x": drift}}, "performance_z": {"f1": -1.5}},
    }  # fmt: skip
    kept = {"shift": 0.5, "shift_p_value": 0.25}
    for segment in (False, True):
        assert published(record, segment=segment) == {
            "performance": {"f1": 0.5}, "prediction": kept, "label_mix": kept, "recent": {"data": {"features": {"x": kept}}},
        }  # fmt: skip


def test_intervals_are_two_rounded_numbers() -> None:
    record = {"performance_interval": {"f1": Interval(0.0, 0.123456789)}, "business": {"x": {"interval": Interval(1.0, 2.0)}}}
    assert published(record, segment=True) == {
        "performance_interval": {"f1": [0, 0.1234568]}, "business": {"x": {"interval": Interval(1.0, 2.0)}},
    }  # fmt: skip
