"""What a check of `tidegauge doctor` has found, as one line for people."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """``check``: what was looked at. ``wrong``: what is not as it must be and what to do; None where all is well, which
    ``well`` then says in figures.

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
    """One finding of all that was found wrong, in sentences, or of what is well."""
    return Finding(check, wrong="; ".join(wrong)) if wrong else Finding(check, well)
