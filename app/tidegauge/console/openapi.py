"""The OpenAPI document of the API: ``schemas/openapi.yaml``, as JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tidegauge import shipped


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(shipped.text("schemas/openapi.yaml") or "{}")
    return loaded
