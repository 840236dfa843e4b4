"""The project's JSON Schemas, and what they find wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

DIRECTORY = Path(__file__).parents[2] / "schemas"

FILES = sorted(DIRECTORY.glob("*.schema.json"))

SCHEMAS = {path.name.removesuffix(".schema.json"): json.loads(path.read_text("utf-8")) for path in FILES}

REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
).crawl()  # fmt: skip


def mistakes(kind: str, value: Any) -> list[str]:
    validator = Draft202012Validator(SCHEMAS[kind], registry=REGISTRY)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
