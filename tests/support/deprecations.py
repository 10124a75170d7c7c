"""What the changelog says of names that are to go, and whether they went when they might."""

from __future__ import annotations

import calendar
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from attrs import frozen

from tests.api import public_modules

MONTHS = 6
"""How long something warns at least, before it goes with a major version."""


@frozen
class Release:
    """A version in the changelog.

    Attributes:
        version: Its numbers; ``None`` of what is not released.
        day: Its date, ``None`` likewise.
        deprecated: The names that warn since then.
        removed: The names that are gone since then.
        is_final: Whether it is no alpha, beta or release candidate.
    """

    version: tuple[int, int, int] | None
    day: date | None
    deprecated: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    is_final: bool = True


def _named(section: str, heading: str) -> frozenset[str]:
    """The code words below a heading of one version."""
    text = section.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return frozenset(re.findall(r"`([^`]+)`", text))


def read_releases(changelog: str) -> list[Release]:
    """The versions of a changelog, the newest first."""
    found = []
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        names = {"deprecated": _named(section, "Deprecated"), "removed": _named(section, "Removed")}
        head = section.partition("\n")[0]
        if head == "[Unreleased]":
            found.append(Release(None, None, **names))
            continue
        written = re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)((?:a|b|rc)\d+)?\] - (\d{4}-\d\d-\d\d)", head)
        if written is None:
            raise ValueError(f"no version and date: {head!r}")
        major, minor, patch, early, day = written.groups()
        numbers = (int(major), int(minor), int(patch))
        found.append(Release(numbers, date.fromisoformat(day), **names, is_final=early is None))
    return found


def _months_after(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    last = calendar.monthrange(day.year + years, month + 1)[1]
    return date(day.year + years, month + 1, min(day.day, last))


def _objection(name: str, gone: Release, before: Iterable[Release]) -> str | None:
    """Why a name may not be gone in a release; the releases before it may have announced that."""
    announced = [release for release in before if name in release.deprecated]
    if not announced:
        return "was never deprecated before"
    first = min(announced, key=lambda release: release.day or date.max)
    if gone.version is None or gone.day is None or first.version is None or first.day is None:
        return None  # judged when it is released
    if gone.version[0] == first.version[0]:
        return "warns since the same major version"
    if gone.day < _months_after(first.day, MONTHS):
        return f"has not warned for six months, since {first.day}"
    return None


def broken_promises(releases: list[Release]) -> list[str]:
    """What went before it might, each with the reason; nothing is promised before 1.0.0.

    Args:
        releases: The newest first.
    """
    found = []
    for place, gone in enumerate(releases):
        is_early = gone.version is not None and (gone.version, gone.is_final) < ((1, 0, 0), True)
        for name in sorted(gone.removed) if not is_early else ():
            why = _objection(name, gone, releases[place + 1 :])
            if why is not None:
                found.append(f"{name} {why}")
    return found


def _public_values() -> Iterator[Any]:
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        yield from (getattr(module, name) for name in module.__all__)


def _messages(value: Any) -> Iterator[str]:
    members = list(vars(value).values()) if inspect.isclass(value) else []
    for each in [value, *members]:
        function = getattr(each, "fget", None) or getattr(each, "__func__", each)
        # A class hands its mark down to those that are derived from it, which are marked by themselves if they are.
        own = vars(function) if hasattr(function, "__dict__") else {}
        if "__deprecated__" in own:
            yield own["__deprecated__"]
        yield from own.get("__deprecated_arguments__", ())


def deprecated_names(values: Iterable[Any] | None = None) -> set[str]:
    """The names that warn, of all public values or of some."""
    found = _public_values() if values is None else values
    return {message.partition(" ")[0] for value in found for message in _messages(value)}
