"""The names of classes and categories, however an event, a table or a spec spells them."""

from __future__ import annotations

import hashlib
import re

DEFAULT_POSITIVE = "1"
MAX_CLASS_NAME = 256
SEPARATOR = "\x1f"
"""The character between the parts of a name that is made of several."""


def _plain(text: str) -> str:
    """The name of a class that has this text: the separator is replaced, and a text that is too long cut and its hash added."""
    if len(text) > MAX_CLASS_NAME:
        text = f"{text[:200]}…{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"
    return text.replace(SEPARATOR, "\ufffd")


def class_name(value: bool | int | float | str) -> str:
    """The canonical text of a category, or of a class (see ``outcome_class``).

    >>> class_name(True), class_name(1.0), class_name("b"), class_name(0.5)
    ('1', '1', 'b', '0.5')
    """
    if isinstance(value, str):
        return value if len(value) <= MAX_CLASS_NAME and SEPARATOR not in value else _plain(value)
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    return str(int(value))


def is_positive(name: str, positive: str) -> bool | None:
    """Whether the class ``name`` is the ``positive`` one of two. None if ``positive`` is the default, 1, and the class a word:
    then the spec does not say which of two words is the positive class.

    >>> is_positive("1", "1"), is_positive("-1", "1"), is_positive("stayed", "churned"), is_positive("stayed", "1")
    (True, False, False, None)
    """
    if name == positive:
        return True
    return None if positive == DEFAULT_POSITIVE and _is_word(name) else False


def _is_word(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return True
    return False


_FLOATED = re.compile(r"-?\d{1,15}\.0", re.ASCII)
"""A whole number that was written as a float, as pandas writes a column of classes with missing values."""
_TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE"), "1"), **dict.fromkeys(("false", "False", "FALSE"), "0"),
}  # fmt: skip


def outcome_class(value: bool | int | float | str) -> str:
    """The class that a prediction, a label or the name of a probability stands for. True and false are the same classes as 1
    and 0, however a programming language, a table or a JSON key spells them.

    >>> [outcome_class(value) for value in (True, 1, 1.0, "1", "True", "true", "1.0", "false", "2.0", "b")]
    ['1', '1', '1', '1', '1', '1', '1', '0', '2', 'b']
    """
    name = class_name(value)
    if name.endswith(".0") and _FLOATED.fullmatch(name):
        return name[:-2]
    return _TRUTHS.get(name, name)


def by_class(probabilities: dict[str, float | None]) -> dict[str, float | None]:
    """The probabilities with each name replaced by the class it stands for (see ``outcome_class``).

    >>> by_class({"True": 0.7, "False": 0.3})
    {'1': 0.7, '0': 0.3}
    """
    if _TRUTHS.keys().isdisjoint(probabilities) and not any(name.endswith(".0") for name in probabilities):
        return probabilities
    return {outcome_class(name): p for name, p in probabilities.items()}
