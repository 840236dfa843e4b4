"""Renders a report as one self-contained HTML file: the template, the plots, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

WIDTH, HEIGHT, PAD = 640.0, 120.0, 8.0
HEADLINES = ("roc_auc", "accuracy", "rmse", "brier", "f1", "log_loss", "mae")


def render(report: Mapping[str, Any]) -> str:
    """The HTML page of a report that ``build`` made."""
    environment = Environment(
        loader=PackageLoader("tidegauge.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "plot": plot, "day": day, "signed": signed}
    return environment.get_template("report.html.j2").render(report=report, headlines=HEADLINES)


def number(value: float | int | None) -> str:
    """A number with four significant digits; whole numbers with thousands separators.

    >>> number(12345), number(0.123456), number(102700.4), number(None)
    ('12,345', '0.1235', '102,700', '–')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def signed(value: float) -> str:
    """A change, with its sign, written like ``number``.

    >>> signed(0.02), signed(-3)
    ('+0.02', '−3')
    """
    return f"{'+' if value >= 0 else '−'}{number(abs(value))}"


def percent(value: float | None) -> str:
    """A ratio as a percentage.

    >>> percent(0.1234), percent(None)
    ('12.3 %', '–')
    """
    return "–" if value is None else f"{value * 100:.1f} %"


def day(text: str) -> str:
    """A time given as RFC 3339 in UTC, shortened: the date, and hours and minutes unless it is midnight.

    >>> day("2025-09-27T00:00:00Z"), day("2025-09-27T06:30:00Z")
    ('2025-09-27', '2025-09-27 06:30')
    """
    return text[:10] if text[11:19] == "00:00:00" else f"{text[:10]} {text[11:16]}"


def plot(windows: Sequence[Mapping[str, Any]], metric: str) -> Markup:
    """A plot (SVG) of one performance metric over the windows. A band shows the interval if there is one; windows that have not
    settled are drawn as hollow points."""
    points = [
        (place, window["performance"][metric], window["performance_interval"].get(metric), window.get("settled", False))
        for place, window in enumerate(windows)
        if metric in window["performance"]
    ]
    if not points:
        return Markup("")
    values = [value for _, value, _, _ in points] + [bound for _, _, interval, _ in points for bound in interval or ()]
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) or 1.0

    def x(place: int) -> float:
        return PAD + place / max(len(windows) - 1, 1) * (WIDTH - 2 * PAD)

    def y(value: float) -> float:
        return HEIGHT - PAD - float((value - low) / reach) * (HEIGHT - 2 * PAD)

    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{metric} from {number(low)} to {number(high)}">']
    banded = [(place, interval) for place, _, interval, _ in points if interval]
    if banded:
        upper = " ".join(f"{x(place):.1f},{y(interval[1]):.1f}" for place, interval in banded)
        lower = " ".join(f"{x(place):.1f},{y(interval[0]):.1f}" for place, interval in reversed(banded))
        parts.append(f'<polygon class="band" points="{upper} {lower}"/>')
    line = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value, _, _ in points if math.isfinite(value))
    parts.append(f'<polyline points="{line}"/>')
    for place, value, _, settled in points:
        parts.append(f'<circle class="{"settled" if settled else "open"}" cx="{x(place):.1f}" cy="{y(value):.1f}" r="3">')
        parts.append(f"<title>{day(windows[place]['window_start'])}: {number(value)}</title></circle>")
    return Markup("".join(parts) + "</svg>")
