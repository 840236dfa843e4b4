"""The documents, the packages' docstrings and the code say the same of where things are."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from support.deployment import ROOT

APP = ROOT / "app/tidegauge"
PACKAGES = sorted(path.parent for path in APP.glob("*/__init__.py"))
MODULES = sorted(path for path in APP.rglob("*.py") if path.name != "__init__.py")
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
MADE = {"models/", "reports/", "demo-output/", "ui/"}
"""Directories of whoever runs tidegauge, and what is made when it runs."""
BEYOND_PACKAGES = {"benchmarks", "browser", "deploy", "documents", "kafka", "simulation"}
"""Directories of tests of more than one package's code: what else the repository holds, and the program on real services."""
_FENCES = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?<!`)``?([A-Za-z][\w.-]*(?:/[\w.-]+)*(?:\.py|/))(?=`)")


def _paths(text: str) -> set[str]:
    return set(_PATH.findall(text))


def _exists(path: str, *beside: Path) -> bool:
    return any((place / path).exists() for place in (ROOT, APP, *beside))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_files_that_there_are(document: Path) -> None:
    named = _paths(_FENCES.sub("", document.read_text())) - MADE
    assert [path for path in sorted(named) if not _exists(path)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_links_to_files_that_there_are(document: Path) -> None:
    links = re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", _FENCES.sub("", document.read_text()))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_docstrings_name_files_that_there_are() -> None:
    wrong = {}
    for path in (*MODULES, *(package / "__init__.py" for package in PACKAGES)):
        named = _paths(path.read_text()) - MADE
        missing = [name for name in sorted(named) if not _exists(name, path.parent)]
        if missing:
            wrong[str(path.relative_to(APP))] = missing
    assert wrong == {}


def test_every_package_has_a_directory_of_tests_of_its_name() -> None:
    tested = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert tested - BEYOND_PACKAGES == {package.name for package in PACKAGES} | {"logger"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_says_what_it_is_for(package: Path) -> None:
    said = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert said is not None
    assert 3 <= len(said.splitlines()) <= 10
    assert "ay use" in said
    first = re.search(r"Begin\s+with\s+``(\w+\.py)``", said)
    assert first is not None
    assert (package / first[1]).is_file()


def test_the_map_has_every_package_and_no_other() -> None:
    (drawn,) = re.findall(r"## The map\n\n```\n(.*?)```", (ROOT / "docs/how-it-works.md").read_text(), flags=re.DOTALL)
    assert set(re.findall(r"│ (\w+)/ ", drawn)) == {package.name for package in PACKAGES}


def test_the_way_of_an_event_passes_through_both_stages_to_an_alert() -> None:
    text = (ROOT / "docs/how-it-works.md").read_text().split("## One event's way")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \|", text, flags=re.MULTILINE)
    way = [package for row in rows for package in re.findall(r"`(\w+)/\w+\.py`", row)]
    assert [package for package in ("join", "monitor", "metrics", "judge", "alert") if package not in way] == []
    assert way.index("join") < way.index("monitor") < way.index("judge") < way.index("alert")


def test_no_two_modules_have_one_name() -> None:
    """But for the stages: what a stage is, and the two that there are."""
    names = Counter(path.name for path in MODULES)
    assert {name for name, count in names.items() if count > 1} == {"stage.py"}


def test_constructors_have_few_parameters() -> None:
    """What has more members is a record (a struct or a dataclass)."""
    many = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs) - 1
                if count > 5:
                    many[f"{path.relative_to(APP)}:{node.lineno}"] = count
    assert many == {}


def test_the_package_itself_holds_few_modules() -> None:
    assert len([path for path in MODULES if path.parent == APP]) <= 8


def test_the_index_of_decisions_lists_every_page() -> None:
    directory = ROOT / "docs/decisions"
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (directory / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in directory.glob("*.md") if path.name != "README.md")


def test_the_index_of_documents_lists_every_page() -> None:
    text = (ROOT / "docs/index.md").read_text()
    listed = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([\w./-]+\.md)\)", text)}
    pages = {path for path in DOCUMENTS if path.parent in (ROOT / "docs", ROOT / "docs/metrics")} - {ROOT / "docs/index.md"}
    assert pages - listed == set()


def test_a_commit_is_checked_as_make_lint_checks() -> None:
    target = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == [
        f".venv/bin/{check}" for check in re.findall(r"^\t\$\(BIN\)/(.+)$", target, flags=re.MULTILINE)
    ]
