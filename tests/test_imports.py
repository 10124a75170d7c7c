"""The imports keep to the table of the architecture page."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

import toolhouse_async
from tests.support.imports import Import, check_acyclic, read_imports

PACKAGE = "toolhouse_async"

IMPURE = {"aiohttp", "anyio", "asyncio", "logging", "random", "socket", "time"}
"""What pure code does not import …"""

PURE = ("_turn", "_values", "_wire", "_batch.outage", "_batch.rows", "_batch.speed", "_batch.steps")
"""… and where pure code is."""

ANYWHERE = {"anyio", "attr", "attrs", "orjson"}
"""Libraries that every module may import …"""

ONLY_IN = {
    "ag_ui": ("web._ag_ui",),
    "aiosqlite": ("stores",),
    "aiohttp": ("_http.answer", "_http.transport", "testing"),
    "cattrs": ("_values.parse",),
    "click": ("_cli",),
    "mcp": ("_cli",),
    "multidict": ("_http.transport", "testing"),
    "opentelemetry": ("otel",),
    "prompt_toolkit": ("_cli",),
    "psycopg": ("stores",),
    "pydantic": ("_values.parse",),
    "redis": ("stores",),
    "rich": ("_cli",),
    "sqlite3": ("stores",),
    "uvicorn": ("_cli",),
    "yarl": ("_http.transport", "testing"),
}
"""… and those that only some may, with what lies below them; multidict and yarl are part of aiohttp's API."""

UNDER_VALUES = ("_wire.ids", "_wire.prose", "_wire.words", "_wire.writing")
"""What values need of the API's words: leaves that know no value."""

KNOWN_OF_HTTP = ("_http.port", "_http.watch")
"""What the rest may know of HTTP; the client, which makes what it needs, knows more."""


def imports() -> list[Import]:
    return read_imports(Path(toolhouse_async.__file__).parent)


def lies_below(module: str, places: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{PACKAGE}.{place}.") for place in places)


def test_pure_code_has_no_clock_socket_log_or_chance() -> None:
    pure = [each for each in imports() if lies_below(each.importer, PURE)]
    assert pure
    assert [each for each in pure if each.library in IMPURE] == []
    outside = {each.target for each in pure if each.library == PACKAGE and not each.for_types_only}
    impure_modules = {each.importer for each in imports() if each.library in IMPURE and not each.for_types_only}
    assert outside & impure_modules == set()


def test_pure_code_awaits_nothing() -> None:
    package = Path(toolhouse_async.__file__).parent
    places = [package.joinpath(*place.split(".")) for place in PURE]
    for file in (
        file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    ):
        nodes = {type(node) for node in ast.walk(ast.parse(file.read_text("utf-8")))}
        assert nodes & {ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith} == set(), file.name


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_the_table_says(library: str) -> None:
    places = ONLY_IN[library]
    strays = [each for each in imports() if each.library == library and not lies_below(each.importer, places)]
    assert strays == []


def test_values_import_one_another_and_leaves_alone() -> None:
    ours = [each for each in imports() if each.library == PACKAGE]
    of_values = [each for each in ours if lies_below(each.importer, ("_values",))]
    assert [
        each for each in of_values if not lies_below(each.target, ("_values", "errors", "events", *UNDER_VALUES))
    ] == []
    of_leaves = [each for each in ours if lies_below(each.importer, UNDER_VALUES)]
    assert [each for each in of_leaves if not lies_below(each.target, ("_wire.jsontext", "errors"))] == []


def test_the_rest_knows_http_by_its_port() -> None:
    outside = [each for each in imports() if not lies_below(each.importer, ("_http",))]
    known = [each for each in outside if lies_below(each.target, KNOWN_OF_HTTP)]
    assert known
    beyond = {each.importer for each in outside if lies_below(each.target, ("_http",)) and each not in known}
    assert beyond == {f"{PACKAGE}._client"}


def test_no_other_library_is_imported() -> None:
    known = {PACKAGE, *ANYWHERE, *ONLY_IN, *sys.stdlib_module_names}
    others = [each for each in imports() if each.library not in known]
    assert all(each.for_types_only for each in others)
    assert {each.library for each in others} == {"typing_extensions"}  # which type checkers bring


def test_errors_import_nothing_of_ours() -> None:
    ours = [each for each in imports() if each.importer == f"{PACKAGE}.errors" and each.library == PACKAGE]
    assert [each for each in ours if not each.for_types_only] == []


def test_no_modules_need_one_another() -> None:
    check_acyclic(imports(), PACKAGE)


def test_no_modules_need_one_another_for_types() -> None:
    """But errors and events, which hold results."""
    holders = {f"{PACKAGE}.errors", f"{PACKAGE}.events"}
    others = [evolve(each, for_types_only=False) for each in imports() if each.importer not in holders]
    check_acyclic(others, PACKAGE)


def test_importing_the_package_loads_no_extra() -> None:
    code = f"import sys, {PACKAGE}; print(*sorted(sys.modules))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    loaded = set(result.stdout.split())
    assert PACKAGE in loaded
    assert loaded & (ONLY_IN.keys() - {"aiohttp", "multidict", "yarl"}) == set()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("missing", [[], ["redis"], ["psycopg"], ["aiosqlite"], ["redis", "psycopg", "aiosqlite"]])
def test_a_star_import_brings_what_is_installed(missing: list[str]) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({missing!r}))
from {PACKAGE} import *
from {PACKAGE}.events import *
from {PACKAGE}.stores import *
from {PACKAGE}.testing import *
from {PACKAGE}.web import *
print(*globals())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needs = {
        "PostgresSessionStore": "psycopg",
        "RedisHubTurn": "redis",
        "RedisSessionStore": "redis",
        "RedisTurnHub": "redis",
        "SQLiteSessionStore": "aiosqlite",
    }
    brought = set(result.stdout.split())
    assert brought & needs.keys() == {name for name, library in needs.items() if library not in missing}
    assert brought >= {"MemorySessionStore", "SessionManager", "TurnHub", "WorkersEmulator", "sse"}
