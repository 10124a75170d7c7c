"""Who imports what in a package, read from its source without importing it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from attrs import frozen

STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
"""Nodes that are imports or may hold some: the many others are expressions."""


@frozen
class Import:
    """One import: the importing module, what it imports, and the name it is bound to."""

    importer: str
    target: str
    bound: str
    for_types_only: bool = False

    @property
    def library(self) -> str:
        """The top-level package of what is imported."""
        return self.target.partition(".")[0]


@cache
def read_imports(package: Path) -> list[Import]:
    """Every import of a package's modules, those within functions and ``if TYPE_CHECKING:`` included."""
    files = {_module_name(file, package.parent): file for file in sorted(package.rglob("*.py"))}
    found: list[Import] = []
    for name, file in files.items():
        anchor = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node, for_types_only in _walk(ast.parse(file.read_text("utf-8")), for_types_only=False):
            for target, bound in _targets(node, anchor, files.keys()):
                found.append(Import(name, target, bound, for_types_only))
    return found


def check_acyclic(imports: list[Import], package: str) -> None:
    """Raise ``graphlib.CycleError``, which holds the cycle, if modules of ``package`` need one another."""
    graph: TopologicalSorter[str] = TopologicalSorter()
    for each in imports:
        if each.library == package and not each.for_types_only:
            graph.add(each.importer, each.target)
    graph.prepare()


def _module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _walk(node: ast.AST, *, for_types_only: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, for_types_only
    types_only = isinstance(node, ast.If) and _is_type_checking(node.test)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, STATEMENTS):
            continue
        guarded = types_only and child in node.body  # type: ignore[attr-defined]
        yield from _walk(child, for_types_only=for_types_only or guarded)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _targets(node: ast.AST, anchor: str, modules: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.ImportFrom):
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), anchor)
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            yield (inner if inner in modules else module), alias.asname or alias.name  # type: ignore[operator]
