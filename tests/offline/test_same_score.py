"""However an event gives its score, every number is the same: in reference data, in a learned baseline, in the stream."""

import json
import math
import random

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.events import START
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.stage import METRICS
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline.reference import build
from tidegauge.offline.replay import Lines, Replay
from tidegauge.spec import BaselineSpec, ModelSpec

SKETCHED = {
    "mean_confidence",
    "misread_confidence",
    "ks",
    "ks_p_value",
    "wasserstein",
    "p50",
    "p_value",
    "shift",
    "standard_scores",
}
"""What comes of quantile sketches, which choose by chance what they keep, and what is said of a member that is not there."""


def rows(seed, count, start, classes):
    """Predicted class, its probability, all probabilities and label; the model is right as often as it says."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        weights = [rng.random() ** 2 for _ in classes]
        probabilities = {name: round(weight / sum(weights), 6) for name, weight in zip(classes, weights, strict=True)}
        predicted = max(probabilities, key=probabilities.get)
        label = rng.choices(classes, list(probabilities.values()))[0]
        found.append((f"r{number}", start + number, predicted, probabilities, label))
    return found


def event(row, way):
    number, ts, predicted, probabilities, _ = row
    binary = len(probabilities) == 2
    score = probabilities["1"] if binary else probabilities[predicted]
    said = {
        "score": {"score": score},
        "positive": {"confidence": score},
        "predicted": {"confidence": probabilities[predicted]},
        "probabilities": {"probabilities": probabilities},
    }[way]
    return {
        "request_id": number,
        "ts": ts,
        "model_version": "m:1",
        "prediction": int(predicted) if binary else predicted,
    } | said


def numbers(record):
    """A record's numbers, but for those that only one way gives (the confidence itself, the loss of all probabilities)."""
    groups = ("prediction", "performance", "estimated", "calibration", "performance_interval")
    flat = _leaves({group: record.get(group, {}) for group in groups})
    return {path: value for path, value in flat.items() if "log_loss" not in path and not SKETCHED & set(path.split("."))}


def _leaves(node, path=""):
    if isinstance(node, dict | list):
        children = node.items() if isinstance(node, dict) else enumerate(node)
        return {k: v for name, child in children for k, v in _leaves(child, f"{path}.{name}").items()}
    return {path: node}


def differences(one, other):
    found = {path: (one.get(path), other.get(path)) for path in one.keys() | other.keys()}
    return {path: pair for path, pair in found.items() if pair[0] != pair[1] and not _close(*pair)}


def _close(one, other):
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4)


def replayed(directory, spec, baseline, predictions, way):
    registry = Registry()
    held = {} if baseline is None else {"": msgspec.Raw(baseline.to_json())}
    registry.apply(b"m", encode(ModelRecord("m", spec, held)))
    for name, lines in (
        ("p", [event(row, way) for row in predictions]),
        ("l", [{"request_id": row[0], "ts": row[1] + 5, "label": row[4]} for row in predictions]),
    ):
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    said = []
    Replay(registry, said.append).run(Lines(directory / "p.jsonl"), Lines(directory / "l.jsonl"))
    records = {o.key: json.loads(o.value) for o in said if o.topic == METRICS}
    return list(records.values()), registry.baseline("m", "m:1")


def told(baseline):
    return len(json.loads(baseline.to_json())["result"]["score"]["quantiles"])


@settings(max_examples=2, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("classes", ["01", "abcd"])
@pytest.mark.parametrize("learned", [False, True])
def test_a_score_is_the_same_however_it_is_given(tmp_path_factory, classes, learned, seed):
    directory = tmp_path_factory.mktemp("score")
    reference, live = rows(seed, 800, START - 86400.0, classes), rows(seed + 1, 900, START, classes)
    found = {}
    for way in ("score", "positive", "predicted", "probabilities"):
        spec = ModelSpec(
            "m", task=None if learned else "binary" if classes == "01" else "multiclass", windows=("5m",), monitors=(),
            confidence_is="predicted" if way == "predicted" else "positive",
            baseline=BaselineSpec(first=250) if learned else BaselineSpec(file="m.json"),
        )  # fmt: skip
        baseline = None
        if not learned:
            (directory / "r.jsonl").write_text("\n".join(json.dumps(event(r, way) | {"label": r[4]}) for r in reference))
            baseline = Baseline.from_json(build(spec, "m:1", directory / "r.jsonl").to_json())
        records, baseline = replayed(directory, spec, baseline, live, way)
        assert len(records) == 3
        found[way] = [told(baseline), numbers(baseline.metrics), *map(numbers, records)]
        assert ".prediction.psi" in found[way][-1]
    for way, of in found.items():
        assert of[0] == found["score"][0], way
        assert [differences(*pair) for pair in zip(of[1:], found["score"][1:], strict=True)] == [{}] * 4, way
