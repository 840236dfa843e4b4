"""The first sentence of an alert: what it says of known cases, that it fits, and that nothing is cut without a sign."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sentences import EMPTY
from tidegauge.judge.meaning import LISTS, Symptom, sentence
from tidegauge.judge.metric_names import TREE, _candidates
from tidegauge.judge.wording import MOST, fitted, listed, shortened

METRICS = sorted(_candidates(TREE, []))
STREAMS = ["error", "abs_error", "score", "latency_ms"]
DAY = 86400.0


@pytest.mark.parametrize(
    ("symptom", "features", "expected"),
    [
        (
            Symptom("data.missing_features", "m:1", value=4.0, affected=240), ["precip", "temp", "visib", "wind_speed"],
            "`precip`, `temp`, `visib` and `wind_speed` are missing in every request since 2 Jan 1970; 240 so far",
        ),
        (
            Symptom("performance.roc_auc", "m:1", "region=eu", 0.81234, 0.77), [],
            "m:1 for region=eu: AUC is 0.812, 0.77 before since 2 Jan 1970",
        ),
        (Symptom("system.latency_ms.p95", "m:1", value=1234.4), [], "m:1: latency (p95) is 1,230 ms since 2 Jan 1970"),
        (Symptom("data.features.age.psi", "m:1", value=0.4), ["age"], "`age` is unlike the training data since 2 Jan 1970"),
        (Symptom("data.features.age.mean", "m:1", value=51.0), ["age"], "m:1: mean of `age` is 51 since 2 Jan 1970"),
        (
            Symptom("system.error_ratio", "m:2", value=0.2, baseline=0.1, kind="rollout"), [],
            "m:2 does worse than its champion: error ratio 0.2 against 0.1 since 2 Jan 1970",
        ),
        (Symptom("score", "m:1", value=0.4, kind="detector"), [], "m:1: a change of its scores, now 0.4, since 2 Jan 1970"),
    ],
)  # fmt: skip
def test_the_sentence_of_a_known_case(symptom: Symptom, features: list[str], expected: str) -> None:
    assert sentence(symptom, features, DAY) == expected


def test_the_sentence_of_a_resolved_alert() -> None:
    share = Symptom("data.features.age.missing_ratio", "m:1", value=0.0)
    assert sentence(share, ["age"], DAY, "again") == "`age` is missing in no request any more since 2 Jan 1970"
    assert sentence(share, ["age"], DAY, "after all") == "`age` is missing in no request after all"
    assert sentence(Symptom("performance.f1", "m:1", value=0.8), [], DAY, "after all") == "m:1: F1 is 0.8 after all"


letters = st.sampled_from("abcdefghij_:=,. éж")
words = st.text(letters, min_size=1, max_size=300).map(lambda text: f"x{text}y")
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(max_examples=500)
@given(
    st.sampled_from([*METRICS, *STREAMS]), words, words, words | st.just(""), st.lists(words, max_size=20, unique=True),
    numbers, numbers, st.integers(0, 10**9), st.sampled_from(["", "again", "after all"]),
    st.sampled_from(["monitor", "detector", "rollout"]), st.floats(0, 4e9),
)  # fmt: skip
def test_a_sentence_fits_and_names_are_whole_or_show_that_they_are_not(
    metric, name, version, segment, features, value, baseline, affected, ending, kind, since
):
    features = features if metric in LISTS else [name]
    path = metric.replace("*", name)
    said = sentence(Symptom(path, version, segment, value, baseline, affected, kind), features, since, ending)
    assert len(said) <= MOST
    known = {" ".join(of.split()) for of in (*features, name)}
    for quoted in re.findall("`([^`]*)`", said):
        head, cut, tail = quoted.partition("…")
        assert quoted in known if not cut else any(of.startswith(head) and of.endswith(tail) for of in known), quoted


@given(st.sampled_from([*METRICS, *STREAMS]), numbers, numbers, st.sampled_from(["", "again", "after all"]), st.booleans())
def test_the_sentence_has_no_gap_whatever_is_unknown(metric, value, baseline, ending, named):
    said = sentence(Symptom(metric.replace("*", "age"), "m:1", "", value, baseline), ["age"] * named, DAY, ending)
    assert not EMPTY.search(said), said


@given(words, st.integers(3, 40))
def test_a_name_is_shortened_in_its_middle(name, most):
    short, name = shortened(name, most), " ".join(name.split())
    assert len(short) <= most or short == name
    assert (short == name) == (len(name) <= most)


@given(st.lists(words, min_size=1, max_size=30))
def test_names_that_do_not_fit_are_counted(names):
    said = fitted(lambda most, length: listed(names, most, length), len(names))
    more = re.search(r" and (\d+) more$", said)
    assert len(re.findall("`[^`]*`", said)) + (int(more[1]) if more else 0) == len(names)
