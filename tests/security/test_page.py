"""The page on security names tests that exist, for every claim."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/security.md").read_text("utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ") and "threat |" not in line]


@cache
def names_in(path: str) -> set[str]:
    """The names of a file's tests."""
    module = ast.parse((ROOT / path).read_text("utf-8"))
    return {each.name for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:40])
def test_every_threat_has_what_holds_and_a_test_that_shows_it(row: list[str]) -> None:
    threat, holds, shown = row
    assert threat.strip()
    assert holds.strip()
    assert TEST.search(shown)
    assert not TEST.sub("", shown).strip()  # nothing but tests


def test_every_test_that_is_named_exists() -> None:
    assert [(path, name) for path, name in TEST.findall(PAGE) if name not in names_in(path)] == []


def test_there_is_a_page() -> None:
    assert len(ROWS) > 40
    assert PAGE.count("tests/") == len(TEST.findall(PAGE))


@pytest.mark.parametrize("path", sorted(each.name for each in Path(__file__).parent.glob("test_*.py")))
def test_every_attack_is_on_the_page(path: str) -> None:
    if path == Path(__file__).name:
        return
    file = f"tests/security/{path}"
    shown = {name for named, name in TEST.findall(PAGE) if named == file}
    assert {name for name in names_in(file) if name.startswith("test_")} == shown
