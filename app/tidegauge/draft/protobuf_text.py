"""Reads Protocol Buffers in text format without their descriptors, which is enough for a schema with known member names."""

from __future__ import annotations

import ast
import re
from typing import Any

from tidegauge.errors import SourceError

_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\s*)*(?P<token>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>\[\],;:]|[^\s{}<>\[\],;:"'#]+|$)"""
)
_OPEN = {"{": "}", "<": ">"}
Message = dict[str, list[Any]]
"""The values of each member in order: texts, numbers, booleans, enumeration names (as texts) and messages."""


def parse_text(text: str) -> Message:
    """Parse ``text`` as a message.

    >>> parse_text('feature { name: "age" type: INT presence { min_fraction: 1.0 } }')
    {'feature': [{'name': ['age'], 'type': ['INT'], 'presence': [{'min_fraction': [1.0]}]}]}

    Raises SourceError.
    """
    reader = _Reader(text)
    message = reader.message("")
    return message


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._next = ""
        self._advance()

    def message(self, end: str) -> Message:
        found: Message = {}
        while self._next != end:
            name = self._take()
            if not name or name in "{}<>[],;:":
                raise self._error(name)
            if name == "[":
                raise self._error(name)
            if self._next == ":":
                self._take()
            found.setdefault(name, []).extend(self._values())
            if self._next in (",", ";") and self._next:
                self._take()
        if end:
            self._take()
        return found

    def _values(self) -> list[Any]:
        if self._next == "[":
            self._take()
            values: list[Any] = []
            while self._next != "]":
                values.append(self._value())
                if self._next == ",":
                    self._take()
            self._take()
            return values
        return [self._value()]

    def _value(self) -> Any:
        token = self._take()
        if token in _OPEN and token:
            return self.message(_OPEN[token])
        if token[:1] in ("'", '"') and token:
            text = _unquoted(token)
            while self._next[:1] in ("'", '"') and self._next:
                text += _unquoted(self._take())
            return text
        if not token or token in "{}<>[],;:":
            raise self._error(token)
        if token in ("true", "false"):
            return token == "true"
        for kind in (int, float):
            try:
                return kind(token.rstrip("fF") if kind is float else token)
            except ValueError:
                continue
        return token

    def _take(self) -> str:
        token = self._next
        self._advance()
        return token

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise self._error(self._text[self._at : self._at + 10])
        self._next, self._at = match["token"], match.end()

    def _error(self, token: str) -> SourceError:
        line = self._text.count("\n", 0, self._at) + 1
        return SourceError(
            f"line {line}: {token!r} is not expected in a message in text form" if token else "the text ends too soon"
        )


def _unquoted(token: str) -> str:
    try:
        return (
            bytes(ast.literal_eval(f"b{token}")).decode("utf-8", "replace") if token.isascii() else str(ast.literal_eval(token))
        )
    except (SyntaxError, ValueError) as error:
        raise SourceError(f"{token} is no text: {error}") from error
