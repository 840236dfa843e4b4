"""The dashboards that are shipped, by name."""

import json
from pathlib import Path

DIRECTORY = Path(__file__).parents[2] / "deploy/grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DIRECTORY / "dashboards").glob("*.json"))}
