"""Custom resources against the schemas of their definitions (tests/fixtures/crds), strictly: unknown members are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

_METADATA = {"type": "object", "required": ["name"]}


def _strict(schema: Any) -> Any:
    """Kubernetes prunes members it does not know, JSON Schema lets them pass; here they are mistakes."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(of) for name, of in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    if isinstance(schema.get("pattern"), str):
        # Go lets flags follow an anchor, Python does not.
        strict["pattern"] = re.sub(r"^\^(\(\?[a-z]+\))", r"\1^", schema["pattern"])
    return strict


def _read() -> dict[tuple[str, str], Any]:
    found = {}
    for path in (Path(__file__).parents[1] / "fixtures/crds").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())
        for version, schema in definition["versions"].items():
            schema["properties"]["metadata"] = _METADATA
            found[f"{definition['group']}/{version}", definition["kind"]] = _strict(schema)
    return found


SCHEMAS = _read()
"""The schemas by API version and kind."""


def validate(resource: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError where the resource is not what its definition says, KeyError where there is none."""
    jsonschema.validate(resource, SCHEMAS[resource["apiVersion"], resource["kind"]])
