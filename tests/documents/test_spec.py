"""docs/spec.md has every member of a spec and no other; its defaults are the defaults, its examples are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from support.deployment import ROOT
from support.schemas import SCHEMAS, mistakes
from tidegauge.detect.budget import TUNED_PARAMETERS
from tidegauge.detect.detectors import ALGORITHMS, BINARY
from tidegauge.models.read import load_to_build
from tidegauge.models.read_monitors import CONDITIONS
from tidegauge.spec import ModelSpec

SCHEMA = SCHEMAS["model-spec"]
Made = dict[str, Any]


class Row(NamedTuple):
    """A member as the document says it is."""

    member: str
    type: str
    default: str
    meaning: str
    example: str


class Section(NamedTuple):
    """Where the schema has the members of a section, and a spec around an example of one of them."""

    schema: dict[str, Any]
    around: Callable[[Made], Made]


def _monitor(given: Made) -> Made:
    metric = "performance.accuracy" if {"confidence", "settle"} & given.keys() else "system.error_ratio"
    condition = {} if given.keys() & set(CONDITIONS) else {"above": 1}
    return _model({"segments": ["region"], "monitors": [{"name": "m", "metric": metric, "window": "1h"} | condition | given]})


def _model(given: Made) -> Made:
    return {"model": "m"} | given


def _feature(given: Made) -> Made:
    return _model({"features": {"f": given}})


def _detector(given: Made) -> Made:
    detector = {"name": "d", "stream": "error", "algorithm": "adwin"} | given
    return _model({"segments": ["region"], "baseline": "b.json", "detectors": [detector]})


SOURCES = SCHEMA["properties"]["baseline"]["anyOf"][0]["oneOf"]
SECTIONS = {
    "Model": Section(SCHEMA, _model),
    "Baseline": Section(
        {"properties": {name: of for source in SOURCES for name, of in source.get("properties", {}).items()}},
        lambda given: _model({"baseline": given}),
    ),
    "Feature": Section(SCHEMA["$defs"]["feature"], _feature),
    "KPI": Section(SCHEMA["properties"]["kpis"]["additionalProperties"], lambda given: _model({"kpis": {"basket": given}})),
    "Monitor": Section(SCHEMA["$defs"]["monitor"], _monitor),
    "Rollout": Section(
        SCHEMA["$defs"]["rollout"], lambda given: _model({"monitors": [{"name": "m", "kind": "rollout"} | given]})
    ),
    "Detector": Section(SCHEMA["$defs"]["detector"], _detector),
    "Implied labels": Section(
        SCHEMA["properties"]["labels"],
        lambda given: _model({"labels": {"missing_after": "30d", "means": 0} | given}),
    ),
    "Inputs": Section(SCHEMA["properties"]["inputs"], lambda given: _model({"inputs": given})),
    "Lineage": Section(SCHEMA["properties"]["lineage"], lambda given: _model({"lineage": given})),
}
TEXT = (ROOT / "docs/spec.md").read_text()


def _rows(title: str) -> list[Row]:
    body = re.split(r"^##+ ", TEXT.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]
    lines = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| `")]
    return [Row(member.strip("`"), *others) for member, *others in lines]


MEMBERS = [
    pytest.param(section, row, id=f"{title}-{row.member}") for title, section in SECTIONS.items() for row in _rows(title)
]
DEFAULTS = [of for of in MEMBERS if of.values[1].default.startswith("`")]
CHOICES = [of for of in MEMBERS if "enum" in of.values[0].schema["properties"][of.values[1].member]]


def _read(directory: Path, spec: Made) -> ModelSpec:
    assert mistakes("model-spec", spec) == []
    path = directory / "m.yaml"
    path.write_text(yaml.safe_dump(spec), "utf-8")
    return load_to_build(path)


@pytest.mark.parametrize("title", SECTIONS)
def test_the_document_has_the_members_of_the_schema_and_no_other(title: str) -> None:
    told = [row.member for row in _rows(title)]
    assert sorted(told) == sorted(SECTIONS[title].schema["properties"])


@pytest.mark.parametrize(("section", "row"), MEMBERS)
def test_the_example_of_each_member_is_read(tmp_path: Path, section: Section, row: Row) -> None:
    # To YAML 1.1, which a spec is not held to, `on` is true.
    example = {{True: "on"}.get(key, key): value for key, value in yaml.safe_load(row.example.strip("`")).items()}
    assert list(example) == [row.member]
    _read(tmp_path, section.around(example))


@pytest.mark.parametrize(("section", "row"), DEFAULTS)
def test_a_default_is_what_holds_without_the_member(tmp_path: Path, section: Section, row: Row) -> None:
    value = yaml.safe_load(row.default.strip("`"))
    assert value == section.schema["properties"][row.member].get("default", value)
    written = section.around({row.member: value})
    # What is around an example may differ by the member, as the metric does: take the member off, and nothing else.
    left = section.around({row.member: value})
    inner = [] if section is SECTIONS["Model"] else [*left.get("monitors", ()), *left.get("detectors", ())]
    holder = left["inputs"] if section is SECTIONS["Inputs"] else left
    (inner[0] if inner else holder).pop(row.member)
    assert _read(tmp_path, written) == _read(tmp_path, left)


@pytest.mark.parametrize(("section", "row"), MEMBERS)
def test_a_member_is_required_where_the_schema_requires_it(section: Section, row: Row) -> None:
    assert (row.default == "required") == (row.member in section.schema.get("required", ()))
    assert row.meaning


@pytest.mark.parametrize(("section", "row"), CHOICES)
def test_a_choice_is_told_whole(section: Section, row: Row) -> None:
    assert re.findall(r"`(\w+)`", row.type) == section.schema["properties"][row.member]["enum"]


def test_the_algorithms_of_the_schema_are_those_there_are() -> None:
    detector = SCHEMA["$defs"]["detector"]
    assert set(detector["properties"]["algorithm"]["enum"]) == ALGORITHMS.keys() == TUNED_PARAMETERS.keys()
    errors_only = [of["if"] for of in detector["allOf"] if of["then"]["properties"].get("stream") == {"const": "error"}]
    assert [set(of["properties"]["algorithm"]["enum"]) for of in errors_only] == [BINARY]


def test_the_table_and_the_schema_have_the_parameters_of_detectors() -> None:
    table = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", TEXT.split("### Parameters")[1], flags=re.MULTILINE)
    told = {algorithm: re.findall(r"`(\w+)`", parameters) for algorithm, parameters in table}
    rules = [rule for rule in SCHEMA["$defs"]["detector"]["allOf"] if "parameters" in rule["then"]["properties"]]
    assert told == {
        rule["if"]["properties"]["algorithm"]["const"]: rule["then"]["properties"]["parameters"]["propertyNames"]["enum"]
        for rule in rules
    }
