"""The console's API under Schemathesis: requests made of ``schemas/openapi.yaml``, valid and invalid ones, alone and one after
another along the document's links, against a real server. Every answer has to be what the document says.

`python -m support.api_fuzzing EXAMPLES [SEED]` sends so many requests to each operation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from support.serving import fed, outputs, running
from tidegauge.console.view import View

ROOT = Path(__file__).parents[2]
SCHEMAS, SCHEMATHESIS = ROOT / "schemas", ROOT / ".venv-fuzz"
ENDLESS = "/api/v1/events"
"""A stream of server-sent events, which has no end to wait for."""
SETTINGS = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502]
"""
"""502 is what a registry that is not there is answered with."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def document() -> dict[str, Any]:
    """The API's document, with the schemas it names by their address as parts of it: nothing is fetched."""
    found: dict[str, Any] = yaml.safe_load((SCHEMAS / "openapi.yaml").read_text("utf-8"))
    del found["paths"][ENDLESS]
    for path in SCHEMAS.glob("*.schema.json"):
        schema = json.loads(path.read_text("utf-8"))
        name = path.name.removesuffix(".schema.json")
        own = {member: part for member, part in schema.items() if member not in ("$id", "$schema")}
        found["components"]["schemas"][name] = _local(own, f"#/components/schemas/{name}")
    return _local(found, "#")


def _local(node: Any, root: str) -> Any:
    """``node`` with its references to files of ``schemas/``, and to itself, as references into the document. ``root``: where it
    lies there."""
    if isinstance(node, list):
        return [_local(part, root) for part in node]
    if not isinstance(node, dict):
        return node
    said = {name: _local(part, root) for name, part in node.items()}
    reference = said.get("$ref")
    if isinstance(reference, str) and root != "#" and reference.startswith("#"):
        said["$ref"] = root + reference[1:]
    elif isinstance(reference, str) and ".schema.json" in reference:
        name, _, rest = reference.rpartition("/schemas/")[2].partition(".schema.json")
        said["$ref"] = f"#/components/schemas/{name}{rest.removeprefix('#')}"
    return said


def run(examples: int, seed: int) -> int:
    """The exit status of Schemathesis: 1 if an answer was not as the document says."""
    with tempfile.TemporaryDirectory() as directory, running(fed(View(), outputs())) as console:
        path = Path(directory) / "openapi.json"
        (Path(directory) / "schemathesis.toml").write_text(SETTINGS, "utf-8")
        path.write_text(json.dumps(document()), "utf-8")
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", str(path), "--url", console.address, "--checks", CHECKS,
            "--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none",
        ]  # fmt: skip
        paths = os.pathsep.join((str(SCHEMATHESIS), os.environ.get("PYTHONPATH", "")))
        return subprocess.run(command, cwd=directory, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
