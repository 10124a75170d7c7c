"""The public face: names, version, typing, and no other library's types in it."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.resources
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import toolhouse_async
from tests.support.imports import Import, read_imports
from toolhouse_async import errors, events

LIBRARIES = {"aiohttp", "anyio", "orjson"}
PUBLIC = {name: getattr(toolhouse_async, name) for name in toolhouse_async.__all__}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


def imports() -> list[Import]:
    return read_imports(Path(toolhouse_async.__file__).parent)


def test_all_names_every_public_name_once() -> None:
    bound = {
        name
        for name, value in vars(toolhouse_async).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert len(PUBLIC) == len(toolhouse_async.__all__)
    assert bound == PUBLIC.keys() - {"__version__"}


@pytest.mark.parametrize("module", [errors, events])
def test_events_and_errors_are_all_reexported(module: ModuleType) -> None:
    assert set(module.__all__) <= PUBLIC.keys()
    assert all(PUBLIC[name] is getattr(module, name) for name in module.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert toolhouse_async.__version__ == importlib.metadata.version("toolhouse-async")


def test_the_types_are_shipped() -> None:
    assert importlib.resources.files(toolhouse_async).joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", ["toolhouse-async", "migrate-to-toolhouse-async"])
def test_the_skills_are_shipped_without_code(name: str) -> None:
    skill = importlib.resources.files(toolhouse_async).joinpath("skills", name)
    assert [file.name for file in skill.iterdir()] == ["SKILL.md"]
    assert skill.joinpath("SKILL.md").read_text("utf-8").startswith(f"---\nname: {name}\n")


@pytest.mark.parametrize("name", CLASSES)
def test_no_public_class_is_one_of_another_library(name: str) -> None:
    assert [base for base in CLASSES[name].__mro__ if base.__module__.partition(".")[0] in LIBRARIES] == []


def is_ours(value: object) -> bool:
    return (getattr(value, "__module__", None) or "").partition(".")[0] == toolhouse_async.__name__


def signatures(value: object) -> Iterator[tuple[str, str, object]]:
    """Module, parameter and annotation of everything public in a class or function."""
    owners = [each for each in value.__mro__ if is_ours(each)] if inspect.isclass(value) else []
    for owner in owners:
        for field, annotation in inspect.get_annotations(owner).items():
            if not field.startswith("_"):
                yield owner.__module__, field, annotation
    for name, member in [member for owner in owners for member in vars(owner).items()] or [("", value)]:
        if name.startswith("_") and not name.endswith("__"):
            continue
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if not is_ours(function):
            continue
        for parameter, annotation in (getattr(function, "__annotations__", None) or {}).items():
            yield function.__module__, f"{name}({parameter})", annotation


def names_in(annotation: object) -> set[str]:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", PUBLIC)
def test_no_public_signature_names_another_librarys_type(name: str) -> None:
    foreign = {(each.importer, each.bound) for each in imports() if each.library in LIBRARIES}
    found = [
        (where, annotation)
        for module, where, annotation in signatures(PUBLIC[name])
        if any((module, used) in foreign or used in LIBRARIES for used in names_in(annotation))
    ]
    assert found == []


def test_the_signatures_are_really_read() -> None:
    read = {where for _, where, _ in signatures(PUBLIC["AsyncToolhouse"])}
    assert {"__init__(api_key)", "stream(return)"} <= read
