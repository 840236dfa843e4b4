"""Recognises the kind of source that a draft is made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tidegauge.draft.great_expectations import is_suite, sketch_suite
from tidegauge.draft.mlflow_model import sketch_mlflow
from tidegauge.draft.protobuf_text import parse_text
from tidegauge.draft.sketch import Sketch, model_name
from tidegauge.draft.tfdv_schema import sketch_schema
from tidegauge.draft.training_data import sketch_data
from tidegauge.errors import SourceError
from tidegauge.lineage.mlflow_reference import is_reference, read_reference
from tidegauge.lineage.mlflow_server import MlflowServer


def sketch_from(source: str, model: str | None, target: str | None, note: Callable[[str], None]) -> Sketch:
    """Draft a spec from ``source``: a file, or a reference to MLflow (``runs:/…`` or ``models:/…``). ``model``: the model's
    name if it differs from the source's; ``target``: the column with the label in training data; ``note``: called with what is
    left out. Raises SourceError and RegistryError."""
    if is_reference(source):
        return sketch_mlflow(read_reference(MlflowServer.from_environment(), source), model)
    path = Path(source)
    if path.suffix in (".pbtxt", ".textproto", ".prototxt"):
        try:
            schema = parse_text(_text(path))
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error
        if "feature" not in schema:
            raise SourceError(f"{path}: is no schema of TFDV: it has no feature")
        folder = path.absolute().parent.name
        return sketch_schema(schema, source, model, path.stem if path.stem != "schema" else model_name(folder))
    if path.suffix == ".json":
        try:
            document = json.loads(_text(path))
        except ValueError:
            document = None
        if is_suite(document):
            return sketch_suite(document, source, model)
    return sketch_data(path, model, target, note)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
