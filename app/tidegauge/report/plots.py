"""The plots of a report, as SVG without scripts: performance, features and concerns over one axis of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from tidegauge.engine.events import timestamp
from tidegauge.report.concerns import CONCERNS
from tidegauge.report.figures import day, number, percent

WIDTH, LEFT, RIGHT = 900.0, 150.0, 12.0
HEIGHT, TOP, BOTTOM = 190.0, 16.0, 22.0
ROW = 16.0
DATES = 7
"""At most so many dates stand below a plot."""
DATE_WIDTH = 70.0
FEATURES = 40
"""A heatmap shows the features with the largest values, at most so many."""
HEAT = (0.25, 0.6, 1.0, 2.0)
"""The upper edges of the steps of a heatmap's scale but the last, in times the limit."""
MARK_LETTERS = 34


class Axis:
    """The axis of time that the plots of a report share: from the start of its first window to the end of its last."""

    def __init__(self, begin: str, end: str) -> None:
        self.begin, self.end = timestamp(begin), timestamp(end)

    def x(self, time: str | None) -> float:
        """The place of a moment, within the plot; None is its right edge."""
        share = 1.0 if time is None else (timestamp(time) - self.begin) / max(self.end - self.begin, 1e-9)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def holds(self, time: str) -> bool:
        return self.begin <= timestamp(time) < self.end

    def dates(self, windows: Sequence[str], bottom: float) -> list[str]:
        """The starts of some of the windows, written below the plot."""
        step = max(math.ceil(len(windows) / DATES), 1)
        places = [(self.x(of), day(of)) for of in windows[::step]]
        return [f'<text x="{x:.1f}" y="{bottom:.1f}">{of}</text>' for x, of in places if x < WIDTH - DATE_WIDTH]


def performance(
    windows: Sequence[Mapping[str, Any]], metric: str, axis: Axis, incidents: Iterable[Mapping[str, Any]] = (),
    marks: Iterable[Mapping[str, Any]] = (),
) -> Markup:  # fmt: skip
    """One performance metric over the windows: a line with the band of its intervals, hollow points where labels are not all
    in, dashed the estimate, which needs no labels. Stripes on top are ``incidents``, as long as they lasted; dotted lines are
    ``marks``. Empty where no window has the metric."""
    known = [of for of in windows if isinstance(of["performance"].get(metric), int | float)]
    if not known:
        return Markup("")
    estimated = [of for of in windows if isinstance(of.get("estimated", {}).get(metric), int | float)]
    banded = [of for of in known if of["performance_interval"].get(metric)]
    values = [of["performance"][metric] for of in known] + [of["estimated"][metric] for of in estimated]
    values += [bound for of in banded for bound in of["performance_interval"][metric]]
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * reach, high + 0.05 * reach

    def y(value: float) -> float:
        return TOP + float((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM)

    def line(of: Iterable[Mapping[str, Any]], member: str) -> str:
        return " ".join(f"{middle(axis, one):.1f},{y(one[member][metric]):.1f}" for one in of)

    told = f"{metric} from {number(min(values))} to {number(max(values))}"
    parts = [_open(HEIGHT, told)]
    for share in (0.0, 0.5, 1.0):
        level = low + share * (high - low)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        parts.append(f'<text class="name" x="{LEFT - 8}" y="{y(level) + 4:.1f}">{number(level)}</text>')
    parts += axis.dates([of["window_start"] for of in windows], HEIGHT - 6)
    if banded:
        edges = [(middle(axis, of), of["performance_interval"][metric]) for of in banded]
        corners = [(x, top) for x, (_, top) in edges] + [(x, bottom) for x, (bottom, _) in reversed(edges)]
        parts.append(f'<polygon class="band" points="{" ".join(f"{x:.1f},{y(of):.1f}" for x, of in corners)}"/>')
    if estimated:
        parts.append(f'<polyline class="estimate" points="{line(estimated, "estimated")}"/>')
    parts.append(f'<polyline class="measured" points="{line(known, "performance")}"/>')
    for of in known:
        kind = "settled" if of.get("settled") else "open"
        value = of["performance"][metric]
        parts.append(f'<circle class="{kind}" cx="{middle(axis, of):.1f}" cy="{y(value):.1f}" r="3">')
        parts.append(f"<title>{day(of['window_start'])}: {number(value)}</title></circle>")
    return Markup("".join([*parts, *_stripes(incidents, axis), *_marks(marks, axis, HEIGHT - BOTTOM), "</svg>"]))


def heatmap(history: Mapping[str, Any], axis: Axis, ends: Mapping[str, str]) -> Markup:
    """Features over time, those that went farthest first: a row a feature, a cell a window. ``history``: what
    ``feature_history`` found; ``ends``: by start, the end of each window."""
    rows = ranked(history)[:FEATURES]
    if not rows:
        return Markup("")
    limit = 1.0 if history["measure"] == "limits" else max(map(worst, rows)) / 2 or 1.0
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [_open(height, f"{len(rows)} features over {len(history['windows'])} windows")]
    for place, row in enumerate(rows):
        top = TOP + place * ROW
        parts.append(f'<text class="name" x="{LEFT - 8}" y="{top + 12:.1f}">{escape(_short(row["feature"], 20))}</text>')
        for start, value in zip(history["windows"], row["values"], strict=True):
            if value is not None:
                step = sum(value > edge * limit for edge in HEAT)
                told = f"{row['feature']}, {day(start)}: {number(value)}"
                parts.append(_cell(axis, start, ends[start], top, f"heat-{step}", told))
    return Markup("".join([*parts, *axis.dates(history["windows"], height - 6), "</svg>"]))


def concerns(health: Mapping[str, Sequence[str | None]], windows: Sequence[str], end: str, axis: Axis) -> Markup:
    """How each of the four concerns was, window by window: grey where nothing was wrong. ``end``: of the last window."""
    height = TOP + ROW * len(CONCERNS) + BOTTOM
    parts = [_open(height, "; ".join(f"{concern}: {_told(health[concern])}" for concern in CONCERNS))]
    edges = [*windows, end]
    for place, concern in enumerate(CONCERNS):
        top = TOP + place * ROW
        parts.append(f'<text class="name" x="{LEFT - 8}" y="{top + 12:.1f}">{concern}</text>')
        for severity, run in groupby(enumerate(health[concern]), key=lambda of: of[1]):
            cells = [at for at, _ in run]
            parts.append(_cell(axis, edges[cells[0]], edges[cells[-1] + 1], top, severity or "fine"))
    return Markup("".join([*parts, *axis.dates(windows, height - 6), "</svg>"]))


def ends(windows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The end of each window by its start."""
    return {of["window_start"]: of["window_end"] for of in windows}


def ranked(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The features of a history, that with the largest value first."""
    return sorted(history["features"], key=lambda row: (-worst(row), row["feature"]))


def worst(row: Mapping[str, Any]) -> float:
    """The largest value of a feature; -1 if it has none."""
    return max((value for value in row["values"] if value is not None), default=-1.0)


def middle(axis: Axis, window: Mapping[str, Any]) -> float:
    """Where a window is drawn as a point."""
    return (axis.x(window["window_start"]) + axis.x(window["window_end"])) / 2


def _open(height: float, told: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(told)}">'


def _cell(axis: Axis, begin: str, end: str, top: float, kind: str, told: str = "") -> str:
    left, width = axis.x(begin), max(axis.x(end) - axis.x(begin) - 0.5, 1)
    place = f'x="{left:.1f}" y="{top:g}" width="{width:.1f}" height="{ROW - 2:g}"'
    return f'<rect class="{kind}" {place}>{f"<title>{escape(told)}</title>" if told else ""}</rect>'


def _stripes(incidents: Iterable[Mapping[str, Any]], axis: Axis) -> Iterable[str]:
    for of in incidents:
        left, right = axis.x(of["starts_at"]), axis.x(of["ends_at"])
        title = escape(of["title"].replace("`", ""))
        yield f'<rect class="stripe {of["severity"]}" x="{left:.1f}" y="2" width="{max(right - left, 3):.1f}" height="6">'
        yield f"<title>{title}</title></rect>"


def _marks(marks: Iterable[Mapping[str, Any]], axis: Axis, bottom: float) -> Iterable[str]:
    for of in marks:
        if axis.holds(of["time"]):
            x = axis.x(of["time"])
            side, shift = ("end", -4) if x > WIDTH * 0.7 else ("start", 4)
            yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4:g}" y2="{bottom:g}"/>'
            yield f'<text class="mark" x="{x + shift:.1f}" y="{TOP + 8:g}" text-anchor="{side}">'
            yield f"{escape(_short(of['text'], MARK_LETTERS))}</text>"


def _told(severities: Sequence[str | None]) -> str:
    wrong = sum(of is not None for of in severities)
    return f"wrong in {percent(wrong / len(severities))} of the windows" if wrong else "nothing wrong"


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
