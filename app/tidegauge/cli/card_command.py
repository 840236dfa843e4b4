"""The command `tidegauge card`, which writes a model card as Markdown and HTML."""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from typing import Any

from tidegauge.cli.options import command, kafka, option, stream_settings


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    card = command(
        commands, "card", run, "a model card: what it is for, where it comes from, how well it does, how it is watched"
    )
    kafka(card)
    card.add_argument("model")
    option(card, "--version", str, None, "which version; without it the one that served last")
    option(
        card, "--replay", Path, None, "take the output of `tidegauge replay` instead of the topics, and --models for the specs"
    )
    option(card, "--models", Path, None, "directory of specs, with --replay")
    option(card, "--output", Path, Path("cards"), "directory")


def run(options: argparse.Namespace) -> int:
    """Write the card and print its paths; return the exit status."""
    for path in write_cards(options, options.model, options.version):
        print(path)
    return 0


def write_cards(options: argparse.Namespace, model: str, version: str | None) -> list[Path]:
    """Write the card as Markdown and HTML to the directory in ``options``; return the paths."""
    from tidegauge.models import directory
    from tidegauge.models.registry import registry_of
    from tidegauge.report.archive import Archive
    from tidegauge.report.card_page import markdown, page
    from tidegauge.report.model_card import ALWAYS, build_card
    from tidegauge.stream import models_topic, reading

    archive = Archive(model, ALWAYS.start, ALWAYS.end)
    if options.replay is not None:
        archive.read(options.replay)
        registry = registry_of(directory.records_of(options.models) if options.models else [])
    else:
        settings = stream_settings(options)
        asyncio.run(reading.fill_archive(settings, archive))
        registry = asyncio.run(models_topic.read(settings))
    card = build_card(archive, registry, model, version)
    options.output.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", card["model_version"])
    written = []
    for ending, text in ((".md", markdown(card)), (".html", page(card))):
        path = options.output / f"{name}{ending}"
        path.write_text(text, "utf-8")
        written.append(path)
    return written
