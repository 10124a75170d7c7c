"""The page on reliability is made from these tests: each of them says its fault and outcome, and none is missing."""

from __future__ import annotations

import ast
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from .support import BACKENDS

EXTENSION = Path(__file__).parents[2] / "docs" / "_ext" / "faults.py"
ROWS = 67


@pytest.fixture
def extension() -> Any:
    """What the documentation reads the tests with; it needs nothing of Sphinx."""
    spec = importlib.util.spec_from_file_location("faults", EXTENSION)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_fault_has_its_test(extension: Any) -> None:
    faults = [fault for chapter in extension.chapters() for fault in chapter.faults]
    numbers = [fault.number for fault in faults]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, ROWS + 1))
    for fault in faults:
        assert fault.fault.endswith("."), fault.test
        assert fault.outcome.endswith("."), fault.test


def written() -> list[ast.AsyncFunctionDef]:
    """Every test of a fault."""
    modules = [ast.parse(path.read_text("utf-8")) for path in Path(__file__).parent.glob("test_*.py")]
    functions = [each for module in modules for each in module.body if isinstance(each, ast.AsyncFunctionDef)]
    return [each for each in functions if each.name.startswith("test_fault_")]


def test_the_page_shows_every_test(extension: Any) -> None:
    shown = [fault.test for chapter in extension.chapters() for fault in chapter.faults]
    assert sorted(shown) == sorted(each.name for each in written())


def test_every_test_is_held_to_the_ending_assertion() -> None:
    """The fixture fails a test that leaves the assertion out."""
    for each in written():
        assert "fault" in [argument.arg for argument in each.args.args], each.name


def test_the_loops_are_there_that_were_asked_for() -> None:
    asked = ["uvloop"] if os.environ.get("TOOLHOUSE_TEST_UVLOOP") else []
    assert [backend.id for backend in BACKENDS] == ["asyncio", *asked]
