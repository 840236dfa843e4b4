"""What no sentence for people may hold, and documents of which anything may be missing."""

from __future__ import annotations

import html
import math
import random
import re
from collections.abc import Container
from typing import Any

from hypothesis import strategies as st

EMPTY = re.compile(
    r"\(\s*\)|\[\s*\]|``|\b(nan|inf|undefined|NaN|Infinity)\b|\(\s|\s\)|\S\s\s+\S|"
    r",\s*[,;).]|\s[,;.](\s|$)|^\s+\S|: *$|\bis *$|(?<!^)\bNone\b",
    re.ASCII,
)
"""Empty brackets, words that programs say for nothing (a sentence may begin with none), and the gaps that are left where
something was to stand."""
numbers = st.sampled_from([0, 0.0, 1.0, 0.812, -3.0, 1e9, math.nan, math.inf, -math.inf])


def visible(page: str) -> list[str]:
    """The texts of an HTML page that a reader sees, one of each element without others in it."""
    body = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    parts = re.split(r"</?(?:p|div|h\d|td|th|tr|li|ul|table|body|html|head|title|meta|br)\b[^>]*>", body)
    return [text for part in parts if (text := " ".join(html.unescape(re.sub(r"<[^>]*>", "", part)).split()))]


def without_some(rng: random.Random, node: Any, kept: Container[str] = (), share: float = 0.3) -> Any:
    """The same with a ``share`` of its members gone, but none of those ``kept`` (by name, wherever they are)."""
    if isinstance(node, list):
        return [without_some(rng, of, kept, share) for of in node]
    if not isinstance(node, dict):
        return node
    left = (item for item in node.items() if item[0] in kept or rng.random() >= share)
    return {name: without_some(rng, child, kept, share) for name, child in left}
