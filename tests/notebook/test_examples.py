"""The example notebooks, run in a real kernel from first to last cell: they do what they say, and show what they say."""

from __future__ import annotations

import os
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from support.deployment import ROOT

NOTEBOOKS = ROOT / "examples/notebooks"


def shown(name: str) -> list[str]:
    """What each code cell of a notebook shows: its last output, as HTML where it has some."""
    notebook: Any = nbformat.read(NOTEBOOKS / name, as_version=4)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "app")}
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute(env=environment)
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            results = [output.data for output in cell.outputs if output.output_type == "execute_result"]
            found.append(results[-1].get("text/html", results[-1].get("text/plain", "")) if results else "")
    return found


def test_every_notebook_is_run() -> None:
    assert {path.name for path in NOTEBOOKS.glob("*.ipynb")} == set(EXPECTED)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_shows(path: Any) -> None:
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in cells] == [[] for _ in cells]
    assert [cell.execution_count for cell in cells] == [None for _ in cells]


EXPECTED = {
    "binary_late_labels.ipynb": ("2013-04-22", "Brier score"),
    "regression.ipynb": ("performance.bias", "mean absolute error"),
    "multiclass.ipynb": ("accuracy", "pixel_"),
}
"""By notebook, what its tables must show."""


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_notebook_runs_and_shows_its_tables_and_the_report(name: str) -> None:
    *tables, report = shown(name)
    assert all(any(words in table for table in tables) for words in EXPECTED[name])
    assert report.startswith("<iframe srcdoc=")
    assert "&lt;html" in report
