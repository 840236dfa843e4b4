"""Detectors: a budget of false alarms, streams that follow a cycle, and what becomes of their state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from scipy.signal import lfilter

from support.driver import Pipeline
from tidegauge.baseline.baseline import Baseline
from tidegauge.detect.block_length import block_length
from tidegauge.detect.budget import Stream, cycle_of, resample, tune
from tidegauge.detect.detectors import Detector
from tidegauge.detect.value_streams import hour_of_week
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.errors import BaselineError, SpecError, TidegaugeError
from tidegauge.models.read import load_file, load_to_build
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline.reference import build
from tidegauge.spec import BaselineSpec, DetectorSpec, ModelSpec

DAY = 86400.0
BUDGET = DetectorSpec("shift", "error", "adwin", false_alarms=1 / 5000, against="hour_of_day")


def wrong(rng: np.random.Generator, days: int, a_day: int = 1000, rate: float = 0.2) -> Stream:
    """Errors without drift that follow each other (bad spells of some 50 values) and the time of the day."""
    times = np.arange(days * a_day) * DAY / a_day
    spells = lfilter([1.0], [1.0, -0.98], rng.normal(scale=0.1, size=len(times)))
    share = rate * (1 + 0.6 * np.sin(2 * np.pi * times / DAY)) * np.exp(spells - 0.125)
    return Stream((rng.random(len(times)) < share).astype(float), times, hour_of_week(times))


@pytest.mark.parametrize("algorithm", ["adwin", "page_hinkley"])
@pytest.mark.parametrize("against", [None, "hour_of_day", "hour_of_week"])
def test_a_budget_holds_on_a_stream_that_depends_on_itself(algorithm: str, against: str | None) -> None:
    rng = np.random.default_rng(1)
    spec = DetectorSpec("shift", "error", algorithm, false_alarms=1 / 5000, against=against)  # type: ignore[arg-type]
    tuning = tune(spec, wrong(rng, 60))
    fresh = wrong(rng, 200)
    plain = len(Detector(DetectorSpec("shift", "error", algorithm)).update(fresh.values))
    found = len(Detector(spec, tuning=tuning).update(fresh.values, fresh.hours))
    assert tuning.alarms <= 10
    assert plain > 150, "without a budget the stream's own ups and downs are taken for drift"
    assert found <= 80, "the budget is 40"


def dependent(rng: np.random.Generator, phi: float, count: int) -> Stream:
    """Errors of one rate, ten thousand an hour, each alike to the one before as far as ``phi`` says (an AR(1) behind them)."""
    noise = rng.normal(size=count)
    noise[1:] *= np.sqrt(1 - phi**2)
    times = np.arange(count) * 0.36
    return Stream((lfilter([1.0], [1.0, -phi], noise) > 0.8).astype(float), times, hour_of_week(times))


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_budgets_hold_over_many_short_baselines(phi: float) -> None:
    """Data of hours, not days: 12 baselines of 15,000 errors, one alarm in 20,000 allowed: 120 in all, known to a fifth."""
    rng = np.random.default_rng(11)
    spec = DetectorSpec("shift", "error", "adwin", false_alarms=1 / 20_000)
    found = 0
    for _ in range(12):
        tuning = tune(spec, dependent(rng, phi, 15_000))
        found += len(Detector(spec, tuning=tuning).update(dependent(rng, phi, 200_000).values))
    assert 40 <= found <= 150


@pytest.mark.parametrize(("phi", "low", "high"), [(0.0, 1, 4), (0.5, 25, 50), (0.9, 95, 180)])
def test_blocks_are_as_long_as_dependence_asks_for(phi: float, low: float, high: float) -> None:
    """Of an AR(1), Politis and White's rule is the root of 6 (phi / (1 - phi^2))^2 n to the third: 0, 38 and 139 here."""
    rng = np.random.default_rng(12)
    noise = rng.normal(size=20_000)
    lengths = [block_length(lfilter([1.0], [1.0, -phi], np.roll(noise, k)), 1000.0) for k in range(5)]
    assert low <= np.median(lengths) <= high
    assert block_length(np.zeros(100), 10.0) == 1.0
    assert block_length(np.arange(1000.0), 50.0) == 50.0


def test_with_a_budget_a_change_is_still_found() -> None:
    rng = np.random.default_rng(2)
    spec = DetectorSpec("shift", "error", "adwin", false_alarms=1 / 20_000, against="hour_of_day")
    detector = Detector(spec, tuning=tune(spec, wrong(rng, 60)))
    before, after = wrong(rng, 10), wrong(rng, 5, rate=0.35)
    assert len(detector.update(before.values, before.hours)) <= 2
    assert detector.update(after.values, after.hours)[0] < 2000


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.integers(8, 80), st.integers(1, 400), st.integers(0, 9))
def test_blocks_keep_to_the_phase_of_the_cycle(period: int, units: int, length: int, seed: int) -> None:
    """Values that say their unit's phase come out as a sequence in which each phase follows the one before."""
    units = max(units, 8 * period)
    values = np.repeat(np.arange(units) % period, 3).astype(float)
    drawn = resample(values, np.arange(0, 3 * units, 3), period, length, np.random.default_rng(seed))
    assert len(drawn) >= length
    assert (drawn[::3] == np.arange(len(drawn) // 3) % period).all()


@given(st.lists(st.tuples(st.integers(0, 167), st.floats(-100, 100)), min_size=1, max_size=200))
def test_a_cycle_of_enough_values_is_their_means(pairs: list[tuple[int, float]]) -> None:
    hours = np.repeat(np.array([hour for hour, _ in pairs], np.uint8), 5000)
    values = np.repeat([value for _, value in pairs], 5000)
    cycle = cycle_of(values, hours, "hour_of_week")
    for hour in {hour for hour, _ in pairs}:
        assert cycle[hour] == pytest.approx(values[hours == hour].mean(), abs=0.9)


def test_what_a_baseline_cannot_give_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(3)
    none = Stream(np.zeros(0), np.zeros(0), np.zeros(0, np.uint8))
    for stream, spec, reason in (
        (none, BUDGET, "hold nothing of the stream error, since they have no labels"),
        (wrong(rng, 1, 500), BUDGET, "500 values of error are too few, at least 1000 are needed"),
        (wrong(rng, 2), DetectorSpec("d", "error", "adwin", false_alarms=1e-5), "2000 values of error are too few, at"),
        (wrong(rng, 3), DetectorSpec("d", "error", "adwin", against="hour_of_week"), "do not span the cycle hour_of_week"),
        (wrong(rng, 20, rate=0.002), DetectorSpec("d", "error", "ddm", false_alarms=1e-4), "ddm alarms more often than"),
    ):  # fmt: skip
        with pytest.raises(BaselineError, match=reason):
            tune(spec, stream)


def test_state_goes_on_where_it_was_and_starts_anew_under_other_parameters() -> None:
    rng = np.random.default_rng(4)
    tuning, stream = tune(BUDGET, wrong(rng, 30)), wrong(rng, 20, rate=0.3)
    undisturbed, half = Detector(BUDGET, tuning=tuning), Detector(BUDGET, tuning=tuning)
    expected = undisturbed.update(stream.values, stream.hours)
    found = half.update(stream.values[:9000], stream.hours[:9000])
    state = half.dump()
    resumed = Detector(BUDGET, state, tuning)
    found += [9000 + place for place in resumed.update(stream.values[9000:], stream.hours[9000:])]
    assert found == expected
    assert resumed.estimation == undisturbed.estimation
    other = tune(BUDGET, wrong(rng, 31))
    for spec, changed in ((BUDGET, None), (BUDGET, other), (DetectorSpec("shift", "error", "page_hinkley"), None)):
        with pytest.raises(TidegaugeError, match="is of other parameters"):
            Detector(spec, state, changed)


def reference_file(path: Path, stream: Stream, labels: bool = True) -> Path:
    with path.open("w") as file:
        for number, (value, time) in enumerate(zip(stream.values.tolist(), stream.times.tolist(), strict=True)):
            event = {
                "request_id": str(number),
                "ts": time,
                "model_version": "m:1",
                "prediction": 1,
                "score": 0.9,
                "features": {},
            }
            file.write(json.dumps(event | ({"label": 1 - int(value)} if labels else {})) + "\n")
    return path


SPEC = """\
model: m
task: binary
windows: [1h, 1d]
baseline: b.json
monitors: []
detectors:
  - {name: shift, stream: error, algorithm: adwin, false_alarms: 1 per 5000, against: hour_of_day}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec with the baseline built for it, by way of files."""
    path = tmp_path_factory.mktemp("models")
    (path / "m.yaml").write_text(SPEC)
    file = reference_file(path / "reference.jsonl", wrong(np.random.default_rng(5), 30))
    (path / "b.json").write_bytes(build(load_to_build(path / "m.yaml"), "m:1", file).to_json())
    return path


def test_a_spec_is_accepted_with_the_baseline_built_for_it_only(directory: Path) -> None:
    spec = load_file(directory / "m.yaml")
    assert spec.detectors == (BUDGET,)
    other = directory / "other.yaml"
    for change, reason in (
        (lambda text: text.replace("5000", "4000"), "false_alarms is not among what b.json was built for"),
        (lambda text: text.replace(", false_alarms: 1 per 5000", ""), "against is not among what b.json was built for"),
        (lambda text: text.replace("baseline: b.json\n", ""), "this one is learned from the first predictions"),
        (lambda text: text.replace("b.json", "{previous: 7d}"), "this one is compared with an earlier window"),
    ):  # fmt: skip
        changed: Callable[[str], str] = change
        other.write_text(changed(SPEC))
        with pytest.raises(SpecError, match=reason):
            load_file(other)
    with pytest.raises(SpecError, match="learned from the first predictions"):
        Registry().apply(b"m", encode(ModelRecord("m", ModelSpec("m", detectors=(BUDGET,)))))


def test_reference_data_without_labels_is_refused_for_a_stream_of_errors(directory: Path, tmp_path: Path) -> None:
    file = reference_file(tmp_path / "reference.jsonl", wrong(np.random.default_rng(6), 2), labels=False)
    with pytest.raises(BaselineError, match="they have no labels"):
        build(load_to_build(directory / "m.yaml"), "m:1", file)


def test_a_built_baseline_is_as_its_schema_says(directory: Path) -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "baseline.schema.json").read_text())
    held = json.loads((directory / "b.json").read_bytes())
    assert held["detectors"][0]["calibrated"]["delta"] > 0
    assert list(Draft202012Validator(schema).iter_errors(held)) == []


def events(stream: Stream) -> tuple[list[bytes], list[bytes]]:
    """Predictions, and their labels two hours later."""
    pairs = list(enumerate(zip(stream.values.tolist(), stream.times.tolist(), strict=True)))
    predictions = [
        {"request_id": str(n), "ts": time, "model_version": "m:1", "prediction": 1, "score": 0.9} for n, (_, time) in pairs
    ]
    labels = [{"request_id": str(n), "ts": time + 7200, "label": 1 - int(value)} for n, (value, time) in pairs]
    return [json.dumps(p).encode() for p in predictions], [json.dumps(label).encode() for label in labels]


def alerts(spec: ModelSpec, baseline: Baseline, stream: Stream, partitions: int, step: int) -> list[tuple[str, str, str]]:
    pipeline = Pipeline(None, partitions)
    pipeline.registry.apply(b"m", encode(ModelRecord("m", spec, {"": msgspec.Raw(baseline.to_json())})))
    predictions, labels = events(stream)
    for start in range(0, len(predictions), step):
        pipeline.send(PREDICTIONS, predictions[start : start + step])
        pipeline.send(LABELS, labels[start : start + step])
        pipeline.checkpoint()
    pipeline.finish()
    found = [alert["data"] for alert in pipeline.of(ALERTS)]
    return [(a["status"], a["starts_at"], a["condition"]) for a in found if a["kind"] == "detector"]


def test_the_stages_find_the_same_whatever_the_partitioning(directory: Path) -> None:
    spec = load_file(directory / "m.yaml")
    baseline = Baseline.from_json((directory / "b.json").read_bytes())
    assert baseline.tunings[0].calibrated["delta"] < 1e-4
    rng = np.random.default_rng(7)
    calm, worse = wrong(rng, 4), wrong(rng, 4, rate=0.4)
    times = np.concatenate((calm.times, 4 * DAY + worse.times))
    stream = Stream(np.concatenate((calm.values, worse.values)), times, hour_of_week(times))
    found = alerts(spec, baseline, stream, 1, 500)
    assert alerts(spec, baseline, stream, 3, 1700) == found
    direct = Detector(BUDGET, tuning=baseline.tunings[0])
    first = stream.times[direct.update(stream.values, stream.hours)[0]] + 7200
    assert found[0][0] == "firing"
    assert found[0][1] == str(np.datetime64(round(first * 1000), "ms")).removesuffix(".000") + "Z"
    assert found[0][2] == "adwin detects a change against hour_of_day (false alarms: 1 per 5000)"
    assert any(status == "firing" and "1970-01-05" < start < "1970-01-07" for status, start, _ in found)


def test_changed_parameters_reset_a_running_detector(directory: Path) -> None:
    """The stage notices a new spec at once, not at the next restart."""
    pipeline = Pipeline(
        ModelSpec("m", task="binary", windows=("1h",), detectors=(DetectorSpec("shift", "error", "page_hinkley"),))
    )
    predictions, labels = events(wrong(np.random.default_rng(8), 2))

    def send(start: int, end: int) -> int:
        pipeline.send(PREDICTIONS, predictions[start:end])
        pipeline.send(LABELS, labels[start:end])
        pipeline.checkpoint()
        (running,) = pipeline.monitor._detectors._detectors.values()
        return running._algorithm.state.count  # type: ignore[no-any-return]

    # Values wait until predictions have come as far as their labels.
    first = send(0, 600)
    second = send(600, 800)
    assert 400 < first < second <= 800
    spec = ModelSpec("m", task="binary", windows=("1h",),
                     baseline=BaselineSpec(first=5000),
                     detectors=(DetectorSpec("shift", "error", "page_hinkley", {"threshold": 90.0}),))  # fmt: skip
    pipeline.registry.apply(b"m", encode(ModelRecord("m", spec)))
    assert 100 < send(800, 1000) <= 1000 - second
