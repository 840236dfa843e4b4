"""Renders a model card as Markdown, with the metadata block that Hugging Face reads, and as one HTML page."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from tidegauge.report.figures import day, number, percent
from tidegauge.spec import segment_name

PIPELINES = {"binary": "tabular-classification", "multiclass": "tabular-classification", "regression": "tabular-regression"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}" \
    "table{border-collapse:collapse}td,th{padding:.2rem .6rem;border-bottom:1px solid #8886;text-align:left}"  # fmt: skip


def metadata(card: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata block of a model card as Hugging Face specifies it."""
    pipeline = PIPELINES.get(card["task"] or "")
    results = [{"type": name, "name": name, "value": round(of["value"], 6)} for name, of in sorted(card["performance"].items())]
    found: dict[str, Any] = {"model_name": card["model_version"], "tags": ["tidegauge", "monitored"]}
    if pipeline is not None:
        found["pipeline_tag"] = pipeline
    if results:
        found["metrics"] = [result["type"] for result in results]
        found["model-index"] = [{
            "name": card["model_version"],
            "results": [{
                "task": {"type": pipeline or "other"},
                "dataset": {"type": "production", "name": f"production, {day(card['from'])} to {day(card['to'])}"},
                "metrics": results,
            }],
        }]  # fmt: skip
    return found


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown, metadata first."""
    block = yaml.safe_dump(metadata(card), sort_keys=False, allow_unicode=True)
    return f"---\n{block}---\n\n{_body(card)}"


def page(card: Mapping[str, Any]) -> str:
    """The card as a self-contained HTML page."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(_body(card))
    title = html.escape(f"{card['model_version']}: model card")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )


def _body(card: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("tidegauge.report", "."), autoescape=False, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "day": day, "text": plain, "segment": segment_name}
    return environment.get_template("card.md.j2").render(card=card)


def plain(text: object) -> str:
    """Escape a text so that Markdown shows it unchanged, on one line.

    >>> plain("a|b\\n<i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
