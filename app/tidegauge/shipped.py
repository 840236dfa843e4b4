"""Documents that are written elsewhere in a checkout (`docs/`, `schemas/`) and shipped inside a wheel."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path


@cache
def text(path: str) -> str | None:
    """The text of ``docs/playbooks/x.md`` or ``schemas/y.yaml``; None where there is no such document."""
    for root in (resources.files("tidegauge") / "shipped", Path(__file__).parents[2]):
        found = root / path
        if found.is_file():
            return found.read_text("utf-8")
    return None
