"""Every fault that the tests cause, and what comes of it, read from the tests.

A test says in its docstring what goes wrong and, after ``Outcome:``, what a user sees. Nothing of the tables stands
anywhere else, so they cannot say what no test shows.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

TESTS: Final = Path(__file__).parents[2] / "tests" / "faults"


@frozen
class Fault:
    """One test: the number of the fault, what goes wrong, what comes of it, and why it needs virtual time, if so."""

    number: int
    test: str
    fault: str
    outcome: str
    needs: str


@frozen
class Chapter:
    """The faults of one module, under its docstring."""

    title: str
    faults: tuple[Fault, ...]


def chapters() -> list[Chapter]:
    """Read all tests of faults, in the order of their numbers."""
    found = []
    for path in TESTS.glob("test_*.py"):
        module = ast.parse(path.read_text("utf-8"))
        faults = sorted(_faults(module), key=lambda each: each.number)
        if faults:
            found.append(Chapter((ast.get_docstring(module) or "").partition("\n")[0].rstrip("."), tuple(faults)))
    return sorted(found, key=lambda each: each.faults[0].number)


def _faults(module: ast.Module) -> Iterator[Fault]:
    for each in module.body:
        if isinstance(each, ast.AsyncFunctionDef) and (name := re.fullmatch(r"test_fault_(\d\d)_\w+", each.name)):
            fault, _, outcome = inspect.cleandoc(ast.get_docstring(each) or "").partition("\n\nOutcome: ")
            needs = [
                decorator.args[0].value
                for decorator in each.decorator_list
                if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "virtual_time"
            ]
            yield Fault(int(name[1]), each.name, " ".join(fault.split()), " ".join(outcome.split()), "".join(needs))
