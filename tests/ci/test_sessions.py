"""Which sessions of nox are everyday."""

from __future__ import annotations

import ast
from pathlib import Path

NOXFILE = Path(__file__).parents[2] / "noxfile.py"
LONG = {"soak", "crash", "exhaustive", "explore", "explore_further", "stress", "benchmark", "mutants", "faults"}


def is_default(session: ast.FunctionDef) -> bool | None:
    """Whether plain ``nox`` runs it; ``None`` for a function that is no session."""
    for decorator in session.decorator_list:
        if ast.unparse(decorator).startswith("nox.session"):
            return "default=False" not in ast.unparse(decorator)
    return None


def test_plain_nox_runs_nothing_that_takes_long() -> None:
    functions = [each for each in ast.parse(NOXFILE.read_text("utf-8")).body if isinstance(each, ast.FunctionDef)]
    default = {each.name: is_default(each) for each in functions}
    assert not LONG - default.keys()
    assert not {name for name in LONG if default[name]}
    assert default["tests"]
    assert default["lint"]
