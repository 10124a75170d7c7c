"""What the package's source does not do, read from it, and what installing it brings."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from importlib.metadata import distribution, requires
from pathlib import Path

import toolhouse_async
from tests.support.imports import read_imports

PACKAGE = Path(toolhouse_async.__file__).parent
CORE = {"aiohttp", "anyio", "attrs", "orjson"}
BUILT = {"pickle", "marshal", "shelve", "dill", "yaml", "xml", "ctypes", "code", "runpy", "pty", "telnetlib", "ftplib"}
"""Modules that make objects or run code of what they read."""
RUN = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
SHELL = {"system", "popen", "create_subprocess_shell", "getoutput", "spawnl"}


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """Every call in the package: the file, the name that is called, the call."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                found.append((path.relative_to(PACKAGE).as_posix(), name, node))
    assert len(found) > 1000
    return found


def test_nothing_is_unpickled_and_nothing_that_comes_in_is_run() -> None:
    """Objects of ours can be pickled by the user; nothing here unpickles."""
    imported = {each.library for each in read_imports(PACKAGE)}
    assert not imported & BUILT
    for path, name, node in calls():
        bare = isinstance(node.func, ast.Name)
        assert not (bare and name in RUN), f"{path}: {name}()"
        assert name not in SHELL, f"{path}: {name}()"
        assert not any(keyword.arg == "shell" for keyword in node.keywords), path


def test_no_verification_is_switched_off_anywhere() -> None:
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        assert not re.search(r"CERT_NONE|check_hostname|_create_unverified_context|ssl=False|verify=False", source), (
            path
        )


def test_only_the_command_line_starts_processes() -> None:
    starting = {path for path, name, _ in calls() if name in ("Popen", "create_subprocess_exec", "fork", "run_process")}
    assert {path.partition("/")[0] for path in starting} == {"_cli"}


def test_the_core_needs_four_packages() -> None:
    needed = [each for each in requires("toolhouse-async") or () if "extra ==" not in each]
    assert {re.split(r"[^\w-]", each)[0] for each in needed} == CORE


def test_the_core_brings_seven_packages_more() -> None:
    """All that runs in the process by the core's doing: a new one should be noticed."""
    found: set[str] = set()
    left = list(CORE)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name not in found:
            found.add(name)
            for each in requires(name) or ():
                requirement, _, marker = each.partition(";")
                if not re.search(r"extra\s*==|python_version\s*<|python_full_version\s*<|platform", marker):
                    left.append(re.split(r"[^\w.-]", requirement)[0])
    # Some of them need typing-extensions, on older Pythons; and the oldest anyio that is allowed needs sniffio.
    assert found - {"typing-extensions", "sniffio"} == CORE | {
        *("aiohappyeyeballs", "aiosignal", "frozenlist", "idna", "multidict", "propcache", "yarl"),
    }
    assert all(distribution(name).version for name in found)


WITHOUT_ADVISORIES = {"aiohttp": "3.14.3", "anyio": "4.14.2", "orjson": "3.11.6", "starlette": "1.3.1"}
"""The first versions behind advisories about what this package may have installed; ``nox -s audit`` finds more."""


def test_no_lower_bound_allows_a_version_with_a_known_advisory() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    listed = project["dependencies"] + [each for extra in project["optional-dependencies"].values() for each in extra]
    bounds = [re.fullmatch(r"([a-z-]+)(?:\[\w,]+)?>=([\d.]+)", each) for each in listed]
    found = {bound[1]: bound[2] for bound in bounds if bound and bound[1] in WITHOUT_ADVISORIES}
    assert found.keys() == WITHOUT_ADVISORIES.keys()
    for name, version in found.items():
        assert _numbers(version) >= _numbers(WITHOUT_ADVISORIES[name]), name


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
