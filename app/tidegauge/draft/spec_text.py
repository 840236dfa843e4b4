"""Writes a draft as YAML with comments, which `models check` accepts unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tidegauge.draft.sketch import Sketch, SketchedFeature

_WIDTH = 118


class _OneLine(yaml.SafeDumper):
    """A YAML dumper that writes texts of several lines on one line, with escapes."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')


_OneLine.add_representer(str, _text)


def spec_text(sketch: Sketch) -> str:
    """The whole YAML file of a draft."""
    return "".join(f"{line}\n" for line in _lines(sketch))


def _lines(sketch: Sketch) -> Iterator[str]:
    yield from _comment(f"Drafted from {sketch.source}. What is not said here has a default: see docs/spec.md.")
    yield f"model: {yaml_line(sketch.model)}"
    if sketch.task is None:
        yield from _comment(sketch.guesses.get("task", "task: taken from the data"))
    else:
        yield from _said(f"task: {sketch.task}", sketch.guesses.get("task"))
    if sketch.positive_label is not None:
        yield from _said(f"positive_label: {yaml_line(sketch.positive_label)}", sketch.guesses.get("positive_label"))
    if sketch.segments:
        yield from _said(f"segments: {yaml_line(sketch.segments)}", sketch.guesses.get("segments"))
    if sketch.windows:
        yield from _said(f"windows: {yaml_line(sketch.windows)}", sketch.guesses.get("windows"))
    if sketch.features:
        yield "features:"
        for name, feature in sketch.features.items():
            yield from _said(f"  {yaml_line(name)}: {_members(feature)}", feature.remark)
    if sketch.lineage:
        yield f"lineage: {yaml_line(sketch.lineage)}"
    yield from _comment("monitors: none are named, so the documented defaults hold: schema, missing and unseen values, drift, "
                        "errors, performance against the baseline, the label feed.")  # fmt: skip
    for proposal in sketch.proposals:
        yield ""
        yield from _comment(proposal.why)
        yield from (f"#   {line}" for line in proposal.lines.splitlines())
    if sketch.untranslated:
        yield ""
        yield from _comment("Without a counterpart in a spec:")
        for said in sketch.untranslated:
            yield from _comment(f"- {said}")


def _members(feature: SketchedFeature) -> str:
    members = {name: getattr(feature, name) for name in ("type", "min", "max", "values", "pii")}
    return yaml_line({name: value for name, value in members.items() if value is not None})


def _said(line: str, why: str | None) -> Iterator[str]:
    if not why:
        yield line
    elif len(line) + len(why) + 4 <= _WIDTH:
        yield f"{line}  # {_printable(why)}"
    else:
        indent = line[: len(line) - len(line.lstrip())]
        yield from (f"{indent}{part}" for part in _comment(why))
        yield line


def _comment(text: str) -> Iterator[str]:
    line = "#"
    for word in _printable(text).split():
        if len(line) + len(word) >= _WIDTH:
            yield line
            line = "#  "
        line += f" {word}"
    yield line


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def yaml_line(value: Any) -> str:
    """A value as flow-style YAML on one line. Texts that YAML would read as another type are quoted."""
    text: str = yaml.dump(
        value, Dumper=_OneLine, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
