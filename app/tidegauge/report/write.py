"""Writes reports to files: one HTML page and one JSON document for each period."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tidegauge.report.archive import Archive
from tidegauge.report.build import build, earlier_report, since
from tidegauge.report.page import render
from tidegauge.report.period import Period


def write(model: str, wanted: Sequence[Period], directory: Path, collect: Callable[[Archive], None]) -> list[Path]:
    """Write the reports on the ``wanted`` periods, the oldest first, and return the paths of their pages. ``collect`` fills an
    archive, which is limited to the time that the periods need. Raises ReportError."""
    archive = Archive(model, min(map(since, wanted)), max(period.end for period in wanted))
    collect(archive)
    directory.mkdir(parents=True, exist_ok=True)
    pages = []
    for period in wanted:
        report = build(archive, model, period, earlier_report(directory, model, period))
        name = f"{re.sub(r'[^A-Za-z0-9._-]', '_', model)}-{period.name}"
        (directory / f"{name}.json").write_bytes(msgspec.json.encode(report))
        page = directory / f"{name}.html"
        page.write_text(render(report), "utf-8")
        pages.append(page)
    return pages
