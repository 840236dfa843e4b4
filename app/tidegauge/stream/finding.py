"""The result of one check of `tidegauge doctor`, as a line for people."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """The result of one check. ``check``: its name. ``wrong``: what is wrong and what to do; None if all is well, in which case
    ``well`` describes it with figures.

    >>> print(Finding("partitions", "predictions and labels have 4 each"))
    ok     partitions   predictions and labels have 4 each
    >>> print(Finding("state", wrong="/state cannot be written: give it to the worker's user"))
    WRONG  state        /state cannot be written: give it to the worker's user
    """

    check: str
    well: str = ""
    wrong: str | None = None

    def __str__(self) -> str:
        said = self.well if self.wrong is None else self.wrong
        return f"{'ok' if self.wrong is None else 'WRONG':<6} {self.check:<12} {' '.join(said.split())}"


def judged(check: str, wrong: list[str], well: str) -> Finding:
    """One finding with all sentences of ``wrong``, or with ``well`` if there are none."""
    return Finding(check, wrong="; ".join(wrong)) if wrong else Finding(check, well)
