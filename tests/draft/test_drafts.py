"""Drafts of specs: `models check` takes each without an edit, and it says what its source says."""

import json
import random

import pytest
import yaml

from tidegauge.cli.main import main
from tidegauge.draft.protobuf_text import parse_text
from tidegauge.errors import SourceError
from tidegauge.models.read import load_file
from tidegauge.offline.reference import build
from tidegauge.spec import FeatureSpec


def draft(tmp_path, source, *flags):
    """The text of a draft, which must be sound, and the spec that it is."""
    directory = tmp_path / "models"
    directory.mkdir(exist_ok=True)
    output = directory / "drafted.yaml"
    output.unlink(missing_ok=True)
    assert main(["models", "init", "--from", str(source), "--output", str(output), *flags]) == 0
    assert main(["models", "check", str(directory)]) == 0
    return output.read_text(), load_file(output)


def rows(count, **columns):
    rng = random.Random(7)
    return [{name: make(rng, number) for name, make in columns.items()} for number in range(count)]


def written(path, made):
    """As CSV, Parquet or JSONL."""
    if path.suffix == ".csv":
        lines = [",".join(made[0])]
        lines += [",".join("" if value is None else str(value) for value in row.values()) for row in made]
        path.write_text("\n".join(lines))
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(made), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


TRAINING = {
    "age": lambda rng, n: rng.randint(18, 90),
    "plan": lambda rng, n: rng.choice("abc"),
    "vip": lambda rng, n: rng.random() < 0.5,
    "mail": lambda rng, n: f"u{n}@example.org",
    "income": lambda rng, n: None if rng.random() < 0.1 else round(rng.random() * 1000, 3),
}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_training_data_whatever_the_file(tmp_path, kind):
    made = rows(1500, **TRAINING, target=lambda rng, n: rng.choice(["yes", "no"]))
    text, spec = draft(tmp_path, written(tmp_path / f"churn data.{kind}", made))
    assert (spec.model, spec.task, spec.positive_label) == ("churn_data", "binary", "yes")
    assert spec.features == {
        "age": FeatureSpec("number"), "plan": FeatureSpec("category"), "vip": FeatureSpec("boolean"),
        "mail": FeatureSpec("category", pii="drop"), "income": FeatureSpec("number"),
    }  # fmt: skip
    assert spec.monitors is None
    assert "#   segments: [plan, vip]" in text
    assert "% missing" in text


@pytest.mark.parametrize(
    ("name", "make", "task", "said"),
    [
        ("label", lambda rng, n: rng.random() * 9, "regression", "holds numbers"),
        ("label", lambda rng, n: rng.randint(1, 5), "multiclass", "if these are counts or ratings, say regression"),
        ("label", lambda rng, n: rng.choice(["cat", "dog", "cow"]), "multiclass", "has 3 values"),
        ("label", lambda rng, n: rng.randint(0, 1), "binary", "has two values"),
        ("label", lambda rng, n: 1, None, "has one value alone"),
        ("other", lambda rng, n: 1, None, "no column tells"),
        ("prediction", lambda rng, n: rng.choice(["a", "b"]), "binary", "a guess, please check"),
    ],
)
def test_the_task_is_guessed_only_where_a_column_tells(tmp_path, name, make, task, said):
    text, spec = draft(tmp_path, written(tmp_path / "m.jsonl", rows(500, age=TRAINING["age"], **{name: make})))
    assert spec.task == task
    assert said in " ".join(text.replace("#", "").split())


@pytest.mark.parametrize(("low", "high", "told"), [(0, 100, True), (-4, 4, True), (0, 1, False)])
@pytest.mark.parametrize("member", ["score", "confidence"])
def test_a_score_that_is_no_probability_is_told(tmp_path, capsys, member, low, high, told):
    made = rows(300, age=TRAINING["age"], label=lambda rng, n: n % 2, **{member: lambda rng, n: rng.uniform(low, high)})
    draft(tmp_path, written(tmp_path / "m.csv", made))
    assert (f"{member} is " in capsys.readouterr().err) == told


def test_the_label_may_have_another_name(tmp_path):
    made = rows(300, age=TRAINING["age"], churned=lambda rng, n: rng.random() < 0.3)
    _, spec = draft(tmp_path, written(tmp_path / "m.csv", made), "--label", "churned", "--model", "churn")
    assert (spec.model, spec.task, set(spec.features)) == ("churn", "binary", {"age"})
    assert main(["models", "init", "--from", str(tmp_path / "m.csv"), "--label", "gone"]) == 1


@pytest.mark.parametrize(
    ("seconds_between", "windows"),
    [(1.0, ("5m", "1h", "1d")), (10.0, ("1h", "1d")), (300.0, ("1d", "1w")), (9000.0, ("1w",))],
)
def test_windows_hold_enough_at_the_rate_of_the_data(tmp_path, seconds_between, windows):
    made = rows(400, ts=lambda rng, n: 1758931200.0 + n * seconds_between, age=TRAINING["age"], label=lambda rng, n: n % 2)
    assert draft(tmp_path, written(tmp_path / "m.jsonl", made))[1].windows == windows


def test_a_draft_builds_the_baseline_that_it_names(tmp_path):
    made = rows(800, **TRAINING, score=lambda rng, n: rng.random(), label=lambda rng, n: rng.randint(0, 1))
    data = written(tmp_path / "churn.csv", made)
    text, spec = draft(tmp_path, data)
    baseline = build(spec, "churn:1", data)
    assert (baseline.data.predictions, baseline.outcome.labels) == (800, 800)
    (tmp_path / "models/churn.baseline.json").write_bytes(baseline.to_json())
    taken = text.replace("#   baseline:", "baseline:")
    assert taken != text
    (tmp_path / "models/drafted.yaml").write_text(taken)
    assert main(["models", "check", str(tmp_path / "models")]) == 0


@pytest.mark.parametrize("name", ["yes", "a: b", "- [x]: {#}", "a, b", "'quote\"", "null"])
def test_any_name_in_a_proposal_is_written_so_that_it_can_be_taken(tmp_path, name):
    made = [{"features": {name: "ab"[number % 2]}, "label": number % 2} for number in range(500)]
    text, _ = draft(tmp_path, written(tmp_path / "m.jsonl", made))
    (tmp_path / "models/drafted.yaml").write_text(text.replace("#   segments:", "segments:"))
    assert load_file(tmp_path / "models/drafted.yaml").segments == ((name,),)
    checks = [("expect_column_values_to_not_be_null", {"column": name, "mostly": 0.95})]
    (tmp_path / "suite.json").write_text(json.dumps(suite(True, *checks)))
    text, _ = draft(tmp_path, tmp_path / "suite.json")
    (proposed,) = (line for line in text.splitlines() if line.startswith("#   - {"))
    (monitor,) = yaml.safe_load(proposed.removeprefix("#   "))
    expected = {"name": f"{name}-missing", "metric": f"data.features.{name}.missing_ratio", "window": "1d", "above": 0.05}
    assert monitor == expected


def test_numbers_written_as_texts_are_recognised(tmp_path):
    made = rows(
        500,
        comma=lambda rng, n: f"{rng.random() * 100:.2f}".replace(".", ","),
        money=lambda rng, n: f"${rng.random() * 1e4:,.2f}",
        gaps=lambda rng, n: "?" if n % 9 == 0 else f"{rng.random():.3f}",
        name=lambda rng, n: f"Customer {n}",
        label=lambda rng, n: n % 2,
    )
    text, _ = draft(tmp_path, written(tmp_path / "m.jsonl", made))
    said = " ".join(text.replace("#", " ").split())
    assert said.count("100% are numbers written as text") == 2
    assert "89% are numbers written as text" in said
    assert said.count("an identifier or free text") == 1


def test_lists_and_objects_are_no_features(tmp_path, capsys):
    made = [{"a": number, "emb": [1, 2], "b": {"c": 1}, "label": number % 2} for number in range(100)]
    _, spec = draft(tmp_path, written(tmp_path / "m.jsonl", made))
    assert set(spec.features) == {"a"}
    assert "left out emb, b: lists or objects" in capsys.readouterr().err
    (tmp_path / "columns.json").write_text(json.dumps({name: {"0": 1, "1": 2} for name in ("a", "label")}))
    assert main(["models", "init", "--from", str(tmp_path / "columns.json")]) == 1
    assert "orient='records'" in capsys.readouterr().err


def test_more_features_than_an_event_may_have_are_told(tmp_path, capsys):
    made = [{"features": {f"f{i}": i + number for i in range(2001)}, "label": number % 2} for number in range(3)]
    draft(tmp_path, written(tmp_path / "m.jsonl", made))
    assert "2001 features, of which an event may have 2000" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["yes", "1", "a: b", "# x", "ünï", "new\nline", "[x]", "null", '"', "  "])
def test_any_name_of_a_feature_stays_what_it_is(tmp_path, name):
    made = [{"features": {name: number}, "label": number % 2} for number in range(100)]
    assert set(draft(tmp_path, written(tmp_path / "m.jsonl", made))[1].features) == {name}


def test_a_spec_that_is_there_is_not_written_over(tmp_path):
    data = written(tmp_path / "m.jsonl", rows(10, age=TRAINING["age"]))
    (tmp_path / "kept.yaml").write_text("mine")
    assert main(["models", "init", "--from", str(data), "--output", str(tmp_path / "kept.yaml")]) == 1
    assert (tmp_path / "kept.yaml").read_text() == "mine"


COLUMNS = ["passengers", "vendor", "fare", "tip", "vip", "label"]


def suite(newer, *expectations):
    """The same suite as 1.x and as 0.x write it."""
    if newer:
        made = [
            {"type": kind, "kwargs": given, "meta": {}, "id": str(number)} for number, (kind, given) in enumerate(expectations)
        ]
        return {
            "name": "taxi rides",
            "expectations": made,
            "id": None,
            "meta": {"great_expectations_version": "1.3.0"},
            "notes": None,
        }
    made = [{"expectation_type": kind, "kwargs": given, "meta": {}} for kind, given in expectations]
    return {
        "expectation_suite_name": "taxi rides", "data_asset_type": "Dataset", "expectations": made, "ge_cloud_id": None,
        "meta": {"great_expectations_version": "0.18.19"},
    }  # fmt: skip


@pytest.mark.parametrize("newer", [True, False], ids=["1.x", "0.x"])
def test_a_draft_says_what_its_great_expectations_suite_says(tmp_path, newer):
    (tmp_path / "suite.json").write_text(json.dumps(suite(
        newer,
        ("expect_table_columns_to_match_ordered_list", {"column_list": COLUMNS}),
        ("expect_column_values_to_be_between", {"column": "passengers", "min_value": 0, "max_value": 4, "strict_min": True}),
        ("expect_column_values_to_be_in_set", {"column": "vendor", "value_set": [1, 2, 4]}),
        ("expect_column_max_to_be_between", {"column": "fare", "min_value": 1, "max_value": 900.5}),
        ("expect_column_values_to_not_be_null", {"column": "fare", "mostly": 0.95}),
        ("expect_column_mean_to_be_between", {"column": "tip", "min_value": 1, "max_value": 3}),
        ("expect_column_values_to_be_of_type", {"column": "vip", "type_": "BooleanType"}),
        ("expect_column_values_to_match_regex", {"column": "vendor", "regex": "^[0-9]$"}),
        ("expect_table_row_count_to_be_between", {"min_value": 1, "max_value": None}),
        ("expect_column_values_to_be_between", {"column": "tip", "min_value": {"$PARAMETER": "low"}, "max_value": 3}),
    )))  # fmt: skip
    text, spec = draft(tmp_path, tmp_path / "suite.json")
    assert spec.model == "taxi_rides"
    assert spec.features == {
        "passengers": FeatureSpec("number", min=0, max=4), "vendor": FeatureSpec("category", values=("1", "2", "4")),
        "fare": FeatureSpec("number", max=900.5), "tip": FeatureSpec(), "vip": FeatureSpec("boolean"), "label": FeatureSpec(),
    }  # fmt: skip
    flat = " ".join(text.replace("#", "").split())
    assert "column_values_to_match_regex(column='vendor', regex='^[0-9]$')" in flat
    assert "table_row_count_to_be_between(min_value=1, max_value=None)" in flat
    assert "its limits are parameters" in flat
    assert "if this is the label, take it out" in flat
    assert spec.monitors is None


def test_a_set_of_the_oldest_suites(tmp_path):
    old = suite(False, ("expect_column_values_to_be_in_set", {"column": "deck", "values_set": ["upper", "lower"]}))
    (tmp_path / "suite.json").write_text(json.dumps(old))
    _, spec = draft(tmp_path, tmp_path / "suite.json")
    assert spec.features == {"deck": FeatureSpec("category", values=("upper", "lower"))}


def test_what_is_proposed_is_sound_too(tmp_path):
    (tmp_path / "suite.json").write_text(json.dumps(suite(
        True,
        ("expect_column_values_to_not_be_null", {"column": "fare", "mostly": 0.95}),
        ("expect_column_mean_to_be_between", {"column": "tip", "min_value": 1, "max_value": None}),
        ("expect_column_stdev_to_be_between", {"column": "tip", "min_value": 1, "max_value": 2}),
    )))  # fmt: skip
    text, _ = draft(tmp_path, tmp_path / "suite.json")
    proposed = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   - {")]
    assert len(proposed) == 3
    (tmp_path / "models/drafted.yaml").write_text(text + "monitors:\n" + "".join(f"{line}\n" for line in proposed))
    assert main(["models", "check", str(tmp_path / "models")]) == 0
    monitors = load_file(tmp_path / "models/drafted.yaml").monitors
    assert [(monitor.metric, monitor.condition.kind) for monitor in monitors] == [
        ("data.features.fare.missing_ratio", "above"),
        ("data.features.tip.mean", "below"), ("data.features.tip.std", "outside"),
    ]  # fmt: skip


SCHEMA = """
# proto-file: tensorflow_metadata/proto/v0/schema.proto
feature {
  name: "payment" value_count { min: 1 max: 1 } type: BYTES domain: "payment"
  presence { min_fraction: 1.0 min_count: 1 }
  drift_comparator { infinity_norm { threshold: 0.01 } }
}
feature: < name: 'hour' type: INT int_domain { min: 0, max: 23 } presence { min_fraction: 0.9 } >
feature { name: "zone" type: INT int_domain { is_categorical: true } }
feature { name: "fare" type: FLOAT domain: "money" }
feature { name: "shared" type: INT bool_domain { } shape { dim { size: 1 } } }
feature { name: "tags" type: BYTES value_count { max: 5 } natural_language_domain { } }
feature { name: "tips" type: FLOAT not_in_environment: "SERVING" }
feature { name: "old" type: FLOAT lifecycle_stage: DEPRECATED }
feature { name: "user" type: STRUCT struct_domain { } }
string_domain { name: "payment" value: "Cash" value: "Credit " "Card" value: ["Caf\\303\\251", "\\"No\\" Charge"] }
float_domain { name: "money" min: -1.5 max: 1e3 }
sparse_feature { name: "wide" }
default_environment: ["TRAINING", "SERVING"]
"""


def test_a_draft_says_what_its_tfdv_schema_says(tmp_path):
    (tmp_path / "taxi.pbtxt").write_text(SCHEMA)
    text, spec = draft(tmp_path, tmp_path / "taxi.pbtxt")
    assert spec.model == "taxi"
    assert spec.features == {
        "payment": FeatureSpec("category", values=("Cash", "Credit Card", "Café", '"No" Charge')),
        "hour": FeatureSpec("number", min=0, max=23), "zone": FeatureSpec("category"),
        "fare": FeatureSpec("number", min=-1.5, max=1000.0), "shared": FeatureSpec("boolean"), "tags": FeatureSpec("category"),
    }  # fmt: skip
    for said in (
        "payment: drift_comparator infinity_norm 0.01", "tags: up to 5 values", "tips: left out, since it looks like the label",
        "old: left out, since its stage is DEPRECATED", "user: left out, since features of type STRUCT", "sparse_feature: 1",
        "tags: natural_language_domain", "metric: data.features.hour.missing_ratio, window: 1d, above: 0.1}",
    ):  # fmt: skip
        assert said in " ".join(text.replace("#", "").split())


@pytest.mark.parametrize(
    "text", ["feature {", "feature }", "feature { name: }", 'feature { name: "x }', "feature [", "{}", ": 1"]
)
def test_text_that_is_no_message_is_refused(text):
    with pytest.raises(SourceError):
        parse_text(text)


def test_a_comment_is_one_whatever_it_says(tmp_path):
    made = suite(True, ("expect_column_values_to_match_regex", {"column": "a", "regex": "x\nmodel: other\n\x85y"}))
    (tmp_path / "suite.json").write_text(json.dumps(made))
    text, spec = draft(tmp_path, tmp_path / "suite.json")
    assert spec.model == "taxi_rides"
    assert list(yaml.safe_load(text)) == ["model", "features"]


RIDES = {
    "expectation_suite_name": "rides.warning",
    "meta": {"great_expectations_version": "0.15.50", "citations": []},
    "expectations": [
        {"expectation_type": "expect_" + kind, "kwargs": kwargs, "meta": {"profiler_details": {}}}
        for kind, kwargs in (
            ("table_row_count_to_be_between", {"min_value": 1, "max_value": 10**6}),
            ("column_values_to_be_between", {"column": "fare", "min_value": 0, "max_value": 9, "row_condition": "tip > 0"}),
            ("column_values_to_be_between", {"column": "fare", "min_value": -5}),
            ("column_values_to_not_be_null", {"column": "tip", "row_condition": "fare > 0", "condition_parser": "pandas"}),
            ("column_quantile_values_to_be_between",
             {"column": "fare", "quantile_ranges": {"quantiles": [0.05, 0.5], "value_ranges": [[0, 5], [7, None]]}}),
            ("column_quantile_values_to_be_between", {"column": "fare", "quantile_ranges": {"quantiles": [0.5]}}),
            ("column_distinct_values_to_equal_set", {"column": "status", "value_set": ["completed", "cancelled"]}),
            ("column_values_to_be_between", {"column": "when", "min_value": "2020-01-01", "parse_strings_as_datetimes": True}),
            ("column_values_to_be_in_type_list", {"column": "miles", "type_list": ["FLOAT64", "DOUBLE_PRECISION", "NUMERIC"]}),
            ("column_values_to_be_unique", {"column": "id"}),
            ("column_pair_values_A_to_be_greater_than_B", {"column_A": "fare", "column_B": "tip"}),
        )
    ],
}  # fmt: skip


def test_a_suite_as_profilers_and_people_write_it(tmp_path):
    """The kinds of expectations that suites of public projects hold: conditions on rows, quantiles, times, databases' types."""
    (tmp_path / "suite.json").write_text(json.dumps(RIDES))
    text, spec = draft(tmp_path, tmp_path / "suite.json")
    assert spec.features["fare"] == FeatureSpec("number", min=-5)
    assert spec.features["status"] == FeatureSpec("category", values=("completed", "cancelled"))
    assert spec.features["miles"] == FeatureSpec("number")
    assert spec.features["tip"] == spec.features["when"] == spec.features["id"] == FeatureSpec()
    assert "{name: fare-p50, metric: data.features.fare.p50, window: 1d, below: 7}" in text
    plain = " ".join(text.replace("#", "").split())
    for said in (
        "row_condition='tip > 0'): it holds for some rows only", "row_condition='fare > 0'",
        "fare: the 0.05 quantile between [0, 5]", "table_row_count_to_be_between",
        "column_quantile_values_to_be_between(column='fare', quantile_ranges={'quantiles': [0.5]})",
        "when: between 2020-01-01", "column_values_to_be_unique", "column_pair_values_A_to_be_greater_than_B",
    ):  # fmt: skip
        assert said in plain, said
    assert "never null" not in plain


def test_a_schema_with_paths_arrays_and_bounds_that_bound_nothing(tmp_path):
    (tmp_path / "sensors.pbtxt").write_text("""
        feature { path { step: "speed" } type: FLOAT float_domain { min: -inf max: 200.0 disallow_nan: true } shape {} }
        feature { path { step: "trip" step: "miles" } type: FLOAT }
        feature { name: 'image' type: FLOAT shape { dim { size: 28 } dim { size: 28 } } }
        feature { name: "one" type: INT shape { dim { size: 1 } } int_domain { min: 1 } }
        feature { name: "words" type: BYTES natural_language_domain {} }
        feature { name: "##SEQUENCE##" type: STRUCT struct_domain { feature { name: "s" type: BYTES } } }
        sparse_feature { name: "s" index_feature { name: "i" } value_feature { name: "v" } }
        tensor_representation_group { key: "" value { tensor_representation { key: "f" value { dense_tensor {} } } } }
    """)
    text, spec = draft(tmp_path, tmp_path / "sensors.pbtxt")
    assert spec.features == {
        "speed": FeatureSpec("number", max=200.0), "one": FeatureSpec("number", min=1), "words": FeatureSpec("category"),
    }  # fmt: skip
    plain = " ".join(text.replace("#", "").split())
    for said in (
        "trip.miles: left out, since it lies within another feature",
        "image: left out, since it is no single value but 28 × 28",
        "SEQUENCE: left out, since features of type STRUCT", "words: natural_language_domain", "sparse_feature: 1 of them",
        "tensor_representation_group: 1 of them",
    ):  # fmt: skip
        assert said in plain, said
