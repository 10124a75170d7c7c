"""The public interface as lines of text: every public name with its parameters, their types and defaults.

``python -m tests.api`` writes that of the present code to ``tests/released_api.txt``; it is done with each release.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import toolhouse_async

RELEASED = Path(__file__).with_name("released_api.txt")
SPECIAL = ("__aenter__", "__aiter__", "__anext__", "__await__", "__call__", "__contains__", "__getitem__", "__iter__")
"""What a class offers beside its public names."""


class _AsWritten:
    """An annotation that prints as it stands in the source."""

    def __init__(self, annotation: Any) -> None:
        self._text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)

    def __repr__(self) -> str:
        return self._text


def public_modules() -> list[str]:
    """The names of all modules without an underscore."""
    found = pkgutil.walk_packages(toolhouse_async.__path__, "toolhouse_async.")
    names = [each.name for each in found if not any(part.startswith("_") for part in each.name.split("."))]
    return ["toolhouse_async", *sorted(names)]


def signature_of(function: Any) -> str:
    """The parameters and the result, with types as they stand in the source."""
    found = inspect.signature(function)
    written = [
        each if each.annotation is each.empty else each.replace(annotation=_AsWritten(each.annotation))
        for each in found.parameters.values()
    ]
    result = found.return_annotation
    returns = result if result is found.empty else _AsWritten(result)
    text = str(found.replace(parameters=written, return_annotation=returns))
    return re.sub(r"<(?:function|class|bound method) '?([\w.]+)'?[^>]*>", r"\1", text)


def _is_ours(owner: type) -> bool:
    return owner.__module__.partition(".")[0] == "toolhouse_async"


@cache
def _public() -> frozenset[Any]:
    """What the public modules offer."""
    modules = [importlib.import_module(name) for name in public_modules()]
    return frozenset(
        value for each in modules for name in each.__all__ if isinstance(value := getattr(each, name), type)
    )


def _bases(value: type) -> Iterator[str]:
    """The names of a class's bases; for one that is not public, which may change, those of its own."""
    for base in value.__bases__:
        if base in _public() or not _is_ours(base):
            yield base.__name__
        else:
            yield from _bases(base)


def _lines_of_class(name: str, value: type) -> Iterator[str]:
    yield f"{name}: class({', '.join(dict.fromkeys(_bases(value)))})"
    owners = [owner for owner in reversed(value.__mro__) if _is_ours(owner)]
    annotations = {field: text for owner in owners for field, text in inspect.get_annotations(owner).items()}
    members = {member: each for owner in owners for member, each in vars(owner).items()}
    is_made_by_users = "__init__" in members and not any(
        "_" in str(each.annotation)[:1] for each in inspect.signature(value).parameters.values()
    )
    for member in sorted({*annotations, *members}):
        if member.startswith("_") and not (member in SPECIAL or (member == "__init__" and is_made_by_users)):
            continue
        each = members.get(member)
        function = getattr(each, "__func__", each)
        if isinstance(each, property):
            yield f"{name}.{member}: property -> {_AsWritten(inspect.signature(each.fget).return_annotation)!r}"  # type: ignore[arg-type]
        elif inspect.isfunction(function):
            coroutine = "async " if inspect.iscoroutinefunction(function) else ""
            yield f"{name}.{member}: {coroutine}{signature_of(function)}"
        elif member in annotations:
            yield f"{name}.{member}: {_AsWritten(annotations[member])!r}"
        else:
            yield f"{name}.{member}: {type(each).__name__}"


def listing() -> list[str]:
    """A line for each public name, and for each that its classes offer."""
    lines: list[str] = []
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if inspect.isclass(value):
                lines += _lines_of_class(f"{module_name}.{name}", value)
            elif inspect.isfunction(value):
                coroutine = "async " if inspect.iscoroutinefunction(value) else ""
                lines.append(f"{module_name}.{name}: {coroutine}{signature_of(value)}")
            else:
                lines.append(f"{module_name}.{name}: {type(value).__name__}")
    return lines


if __name__ == "__main__":
    RELEASED.write_text("\n".join(listing()) + "\n", "utf-8")
