"""Shares with their intervals, and tables between the marks of ``docs/evaluation.md``."""

from __future__ import annotations

import math
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evaluation.md"


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    >>> [round(bound, 3) for bound in wilson(1, 100)]
    [0.002, 0.054]
    """
    z, share = 1.959964, count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def share(pair: list[int] | None, interval: bool = True) -> str:
    """A share in per cent with its interval."""
    if not pair or not pair[1]:
        return "–"
    count, of = pair
    low, high = wilson(count, of)
    text = f"{100 * count / of:.3g}"
    return f"{text} ({_percent(low)}–{_percent(high)})" if interval else text


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share > 0.095 else f"{round(100 * share, 2):.2g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fill(found: dict[str, str], page: Path) -> None:
    """The committed page with these tables between their marks, written to ``page``."""
    text = PAGE.read_text()
    for name, new in found.items():
        marks = (f"<!-- begin {name} -->", f"<!-- end {name} -->")
        text = re.sub(f"{marks[0]}.*?{marks[1]}", lambda _, of=f"{marks[0]}\n{new}\n{marks[1]}": of, text, flags=re.DOTALL)
    page.write_text(text)
