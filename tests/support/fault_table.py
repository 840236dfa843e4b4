"""What the campaign of faults has measured, as the table in ``docs/reliability.md``: it writes the page's figures itself."""

from __future__ import annotations

import statistics
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = ("| fault | repetitions | seconds until right, median | at most | seen meanwhile |", "|---|---|---|---|---|")


class FaultTable:
    """Seconds from the end of a fault until the numbers were right, by fault, and what was seen meanwhile."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.seen: dict[str, str] = {}

    def add(self, fault: str, seconds: float, seen: str | None = None) -> None:
        self.seconds.setdefault(fault, []).append(seconds)
        self.seen[fault] = seen or ""

    def rows(self) -> dict[str, str]:
        """By fault its line."""
        return {
            fault: f"| {fault} | {len(taken)} | {statistics.median(taken):.0f} | {max(taken):.0f} | {self.seen[fault]} |"
            for fault, taken in self.seconds.items()
        }

    def write(self, page: Path = PAGE) -> None:
        """Put the lines in their places; those of faults that were not tried now stay, as does what stands around the table."""
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        table, _, after = rest.partition(END)
        standing = {line.split("|")[1].strip(): line for line in table.strip().splitlines()[len(HEAD) :]}
        lines = (standing | self.rows()).values()
        page.write_text("\n".join((before + BEGIN, *HEAD, *lines, END + after)), "utf-8")
