"""Typed reading of a YAML file that continues after a mistake, so that all mistakes are reported at once with their lines."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml
from yaml.constructor import SafeConstructor

from tidegauge.class_names import class_name
from tidegauge.errors import SpecError
from tidegauge.judge.metric_names import suggestion
from tidegauge.spec import SECONDS, duration

MAX_LENGTH = 100 * 365 * SECONDS["d"]
"""No length of time in a spec is longer than this (seconds)."""
_KINDS = {"map": "a mapping", "seq": "a list", "null": "nothing", "str": "text", "int": "a number", "float": "a number",
          "bool": "true or false"}  # fmt: skip
_SCALARS = ("str", "int", "float", "bool", "timestamp")
_PLAIN = {"bool": re.compile("true|True|TRUE|false|False|FALSE"), "int": re.compile("[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+")}
"""How YAML 1.2 writes booleans and integers."""


class Problem(msgspec.Struct, frozen=True):
    """One mistake. ``line`` counts from 1 and is 0 if the mistake has no line; ``member`` is its path in the file."""

    file: str
    line: int
    member: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        line = f"{place}: {self.member}: {self.message}" if self.member else f"{place}: {self.message}"
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


class Item:
    """One value of the file with its place. The reading methods note a mistake and return None if the value is of another
    type."""

    def __init__(self, node: yaml.Node, path: str, problems: list[Problem], file: Path) -> None:
        self.path, self.file = path, file
        self._node, self._problems = node, problems

    @property
    def line(self) -> int:
        return self._node.start_mark.line + 1

    @property
    def kind(self) -> str:
        """``map``, ``seq``, ``null``, ``str``, ``int``, ``float``, ``bool`` or another YAML tag."""
        return self._node.tag.rpartition(":")[2]

    def wrong(self, message: str) -> None:
        problem = Problem(str(self.file), self.line, self.path, message)
        if problem not in self._problems:
            self._problems.append(problem)

    def expected(self, what: str) -> None:
        shown = repr(self._node.value[:40]) if isinstance(self._node, yaml.ScalarNode) else _KINDS.get(self.kind, self.kind)
        if self.kind == "null":
            self.wrong(f"has no value; write {what}, or remove it")
        else:
            self.wrong(f"{shown} is not {what}; write one")

    def members(self, known: Collection[str] | None = None) -> dict[str, Item]:
        """The members of a mapping. Members that are not ``known`` are mistakes (None: all are known), and so are duplicate
        names."""
        if not isinstance(self._node, yaml.MappingNode):
            self.expected("a mapping of names to values")
            return {}
        found: dict[str, Item] = {}
        for key, value in self._node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            item = Item(value, f"{self.path}.{name}" if self.path else f"{name}", self._problems, self.file)
            place = Item(key, item.path, self._problems, self.file)
            if not name:
                Item(key, self.path, self._problems, self.file).wrong("a member's name must be text")
            elif name in found:
                place.wrong("is written twice; keep one of the two")
            elif known is not None and name not in known:
                place.wrong(f"unknown member; {suggestion(name, known)}")
            else:
                found[name] = item
        return found

    def items(self) -> list[Item]:
        """The elements of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.expected("a list")
            return []
        return [Item(node, f"{self.path}[{n}]", self._problems, self.file) for n, node in enumerate(self._node.value)]

    def scalar(self) -> bool | int | float | str | None:
        """Text, number or boolean. Values that only YAML 1.1 reads as something other than text are text as written: dates,
        ``yes`` and ``no`` (which are class names), ``02139`` (a code), ``12:30``."""
        if not isinstance(self._node, yaml.ScalarNode) or self.kind not in _SCALARS:
            self.expected("a text, a number or a boolean")
            return None
        return self.source() if self.kind in ("str", "timestamp") or self._is_old_style() else self._constructed()

    def _is_old_style(self) -> bool:
        """Whether YAML 1.1, but not YAML 1.2, reads this as a boolean or an integer."""
        plain = _PLAIN.get(self.kind)
        return plain is not None and plain.fullmatch(self.source()) is None

    def _constructed(self) -> bool | int | float | None:
        try:
            value: bool | int | float = SafeConstructor().construct_object(self._node)
            if isinstance(value, bool) or math.isfinite(float(value)):
                return value
        except (ValueError, OverflowError, IndexError, yaml.YAMLError):
            pass
        self.expected("a finite number")
        return None

    def source(self) -> str:
        """A scalar exactly as written."""
        return str(self._node.value)

    def text(self) -> str | None:
        if self.kind != "str" or not self.source().strip():
            self.expected("a text (put it in quotes)")
            return None
        return self._valid(self.source())

    def name(self) -> str | None:
        """A scalar as the text that was written, since names, commits and ids may look like numbers."""
        if self.kind not in _SCALARS or not self.source().strip():
            self.expected("a name")
            return None
        return self._valid(self.source())

    def class_name(self) -> str | None:
        value = self.scalar()
        return None if value is None else self._valid(class_name(value))

    def _valid(self, text: str) -> str | None:
        try:
            text.encode()
        except UnicodeEncodeError:
            self.wrong("holds a lone surrogate, which UTF-8 cannot carry; write valid text")
            return None
        return text

    def boolean(self) -> bool | None:
        value = self._constructed() if self.kind == "bool" else None
        if not isinstance(value, bool):
            self.expected("true or false")
            return None
        return value

    def number(self) -> float | None:
        """A finite number, also in a form like ``1e-3``, which YAML 1.1 reads as text."""
        if self.kind in ("int", "float") and not self._is_old_style():
            value = self._constructed()
            return None if value is None else float(value)
        plain = isinstance(self._node, yaml.ScalarNode) and self.kind == "str" and self._node.style is None
        try:
            value = float(self.source()) if plain else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.expected("a number")
            return None
        return value

    def integer(self, least: int, most: int = 2**53) -> int | None:
        value = self._constructed() if self.kind == "int" and not self._is_old_style() else None
        if not isinstance(value, int) or not least <= value <= most:
            self.expected(f"a whole number from {least}{f' to {most}' if most < 2**53 else ''}")
            return None
        return value

    def seconds(self, zero: bool = False) -> float | None:
        """A length of time such as ``5m`` in seconds; 0 only if ``zero`` is true."""
        if self.kind not in _SCALARS:
            self.expected("a length of time, as 5m")
            return None
        try:
            length = duration(self.source())
        except SpecError as error:
            self.wrong(str(error))
            return None
        if length > MAX_LENGTH or (length <= 0 and not zero):
            self.wrong(f"{self.source()} is not usable; a length of time here is {'at least' if zero else 'more than'} 0 "
                       "and at most 100 years")  # fmt: skip
            return None
        return length

    def choice(self, known: Collection[str]) -> Any:
        """One of the known words."""
        if self.kind != "str" or self.source() not in known:
            written = self.source() if isinstance(self._node, yaml.ScalarNode) else self.kind
            self.wrong(f"{written!r} is not one of {', '.join(known)}; {suggestion(written, known)}")
            return None
        return self.source()

    def names(self) -> Iterator[NamedItem]:
        """The elements of a list of names, without those that are not names."""
        for item in self.items():
            name = item.name()
            if name is not None:
                yield NamedItem(item, name)


class NamedItem(NamedTuple):
    """An item of YAML that is a name, and that name."""

    item: Item
    name: str


def required(members: Mapping[str, Item], name: str, owner: Item, what: str) -> Item | None:
    if name not in members:
        owner.wrong(f"{name} is missing; write {what}")
    return members.get(name)


def parse(path: Path, problems: list[Problem]) -> Item | None:
    """The file's only document; None, with a problem noted, if it cannot be read."""

    def wrong(line: int, message: str) -> None:
        problems.append(Problem(str(path), line, "", message))

    try:
        node = yaml.compose(path.read_bytes(), yaml.SafeLoader)
    except OSError as error:
        wrong(0, f"cannot be read: {error.strerror}")
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        wrong(mark.line + 1 if mark else 0, f"is not YAML: {error.problem or error.context}; check indentation and quotes")
        return None
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        wrong(0, f"is not YAML: {' '.join(str(error).split())[:200]}")
        return None
    if node is None:
        wrong(1, "the file is empty; a spec has at least the member model")
        return None
    return Item(node, "", problems, path)
