"""Each algorithm finds what River's finds, value by value; stored and read again at any point it goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import drift
from river.drift import binary

import tidegauge
from tidegauge.detect.detectors import ALGORITHMS, BINARY, Detector
from tidegauge.errors import TidegaugeError
from tidegauge.spec import DetectorSpec

RIVER: dict[str, Any] = {
    "adwin": drift.ADWIN, "page_hinkley": drift.PageHinkley, "kswin": drift.KSWIN, "ddm": binary.DDM, "eddm": binary.EDDM,
    "hddm_a": binary.HDDMA, "hddm_w": binary.HDDMW,
}  # fmt: skip
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("adwin", {"delta": 0.2, "clock": 7, "max_buckets": 3, "min_window_length": 2, "grace_period": 1}),
    ("page_hinkley", {"threshold": 5.0, "mode": "down", "min_instances": 5}),
    ("page_hinkley", {"threshold": 5.0, "mode": "up"}),
    ("kswin", {"alpha": 0.05, "window_size": 60, "stat_size": 20, "seed": 3}),
    ("ddm", {"warm_start": 5, "drift_threshold": 2.0}),
    ("eddm", {"warm_start": 10, "beta": 0.95, "alpha": 0.99}),
    ("hddm_a", {"two_sided_test": True, "drift_confidence": 0.05}),
    ("hddm_w", {"two_sided_test": True, "lambda_val": 0.1, "drift_confidence": 0.05}),
]
CASES = [(name, {}) for name in ALGORITHMS] + OTHERS
IDS = [f"{name}-{'other' if parameters else 'default'}-{place}" for place, (name, parameters) in enumerate(CASES)]


def stream(name: str, seed: int, count: int) -> NDArray[np.float64]:
    """Values whose level and spread change now and then."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(0.05, 0.9, 1 + count // 150), 150)[:count]
    if name in BINARY:
        return (rng.random(count) < levels).astype(float)
    return np.asarray(rng.normal(levels * 3, 0.1 + levels, count))


def spec_of(name: str, parameters: dict[str, Any]) -> DetectorSpec:
    return DetectorSpec("d", "error" if name in BINARY else "score", name, parameters)


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_algorithm_finds_what_rivers_finds(name: str, parameters: dict[str, Any], seed: int) -> None:
    values = stream(name, seed, 700 if name == "kswin" else 6000)
    river = RIVER[name](**({"seed": 1} if name == "kswin" else {}) | parameters)
    expected = []
    for place, value in enumerate((values != 0).tolist() if name in BINARY else values.tolist()):
        river.update(value)
        if river.drift_detected:
            expected.append(place)
    ours = Detector(spec_of(name, parameters))
    assert ours.update(values) == expected
    if parameters or name in ("adwin", "kswin"):
        assert expected, "a test in which nothing is found tests little"
    if name == "adwin":
        assert ours.estimation == river.estimation


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(0, 600), max_size=6))
def test_a_restored_algorithm_goes_on_where_it_was(name: str, parameters: dict[str, Any], seed: int, cuts: list[int]) -> None:
    count = 150 if name == "kswin" else 600
    values, spec = stream(name, seed, count), spec_of(name, parameters)
    cuts = [cut * count // 600 for cut in cuts]
    undisturbed = Detector(spec)
    expected = undisturbed.update(values)
    found, detector, begin = [], Detector(spec), 0
    for end in [*sorted(cuts), len(values)]:
        state = detector.dump()
        detector = Detector(spec, state)
        assert detector.dump() == state, "what was read is what was written"
        found += [begin + place for place in detector.update(values[begin:end])]
        begin = end
    assert found == expected
    assert detector.dump() == undisturbed.dump()
    assert detector.estimation == undisturbed.estimation


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(ALGORITHMS)), data=st.data())
def test_a_damaged_state_is_refused_or_harmless(name: str, data: st.DataObject) -> None:
    """Whatever bytes stand in the changelog: a clear refusal, or a detector that takes values."""
    detector = Detector(spec_of(name, {}))
    detector.update(stream(name, 1, 200))
    raw = bytearray(detector.dump())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    try:
        read = Detector(spec_of(name, {}), bytes(raw))
    except TidegaugeError:
        return
    try:
        read.update(stream(name, 2, 300))
    except (ArithmeticError, ValueError) as error:
        raise AssertionError(f"a state that breaks the arithmetic was taken: {error!r}") from error


def test_a_pickle_is_refused_and_says_so() -> None:
    """The form in which states were kept: (mark, bytes)."""
    spec = spec_of("adwin", {})
    old = msgspec.msgpack.encode((Detector(spec).mark, b"\x80\x05cos\nsystem\n"))
    with pytest.raises(TidegaugeError, match=r"the stored state of detector 'd' .* kept it as a pickle, which is not read"):
        Detector(spec, old)


def test_nothing_that_can_carry_code_is_read_or_written_anywhere() -> None:
    words = ("pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib")
    for path in Path(tidegauge.__file__).parent.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.partition("#")[0]
            found = [w for w in words if f"import {w}" in code or f"from {w}" in code or f"{w}." in code or f"_{w}" in code]
            assert not found, f"{path}:{number}: {line}"
