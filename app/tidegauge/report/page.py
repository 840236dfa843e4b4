"""Renders a report as one self-contained HTML file: the template and its plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidegauge.report import plots
from tidegauge.report.figures import day, number, percent, sentence, signed

HEADLINES = ("roc_auc", "accuracy", "rmse", "brier", "f1", "log_loss", "mae")


def render(report: Mapping[str, Any]) -> str:
    """The HTML page of a report that ``build`` made."""
    environment = Environment(
        loader=PackageLoader("tidegauge.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "day": day, "signed": signed, "sentence": sentence}
    axis = plots.Axis(report["from"], report["to"])
    return environment.get_template("report.html.j2").render(
        report=report, headlines=HEADLINES, plots=plots, axis=axis, incidents=report["incidents"] or []
    )
