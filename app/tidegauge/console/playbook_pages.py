"""The playbooks that come with tidegauge, as text and as HTML."""

from __future__ import annotations

import re
from typing import Any

from markdown_it import MarkdownIt

from tidegauge import shipped
from tidegauge.alert.playbooks import DIRECTORY

_NAME = re.compile(r"(?:^|/)([a-z0-9-]+\.md)(?:#.*)?$")
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def playbook(runbook_url: str) -> dict[str, Any] | None:
    """The ``url`` of a playbook and, if it is one of tidegauge's own, its ``markdown`` and ``html``; None if there is no
    URL."""
    if not runbook_url:
        return None
    said: dict[str, Any] = {"url": runbook_url}
    match = _NAME.search(runbook_url)
    text = shipped.text(f"{DIRECTORY}/{match[1]}") if match else None
    return said | ({"markdown": text, "html": _markdown.render(text)} if text is not None else {})
