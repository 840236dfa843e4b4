"""What the campaign of faults has measured, as the table in ``docs/reliability.md``: it writes the page's figures itself."""

from __future__ import annotations

import statistics
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = ("| fault | repetitions | seconds until right, median | at most |", "|---|---|---|---|")


class FaultTable:
    """Seconds from the end of a fault until the numbers were right, by fault."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def add(self, fault: str, seconds: float) -> None:
        self.seconds.setdefault(fault, []).append(seconds)

    def lines(self) -> list[str]:
        rows = [
            f"| {fault} | {len(taken)} | {statistics.median(taken):.0f} | {max(taken):.0f} |"
            for fault, taken in self.seconds.items()
        ]
        return [*HEAD, *rows]

    def write(self, page: Path = PAGE) -> None:
        """Put the table in its place; what stands around it stays."""
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text("\n".join((before + BEGIN, *self.lines(), END + after)), "utf-8")
