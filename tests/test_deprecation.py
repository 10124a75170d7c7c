"""What is to go warns where it is used, and goes only when it may."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

import attrs
import pytest

from toolhouse_async._deprecation import deprecated, renamed_argument

from .support.deprecations import Release, broken_promises, deprecated_names, read_releases

CHANGELOG = (Path(__file__).parent.parent / "CHANGELOG.md").read_text("utf-8")
OLD = "old is deprecated since 1.2 and goes in 2.0: use new"
TEXT = "f(text=) is deprecated since 1.2 and goes in 2.0: use message="


@deprecated(OLD)
def old(value: int, *, twice: bool = False) -> int:
    """Return the value.

    Args:
        value: What is returned.
        twice: Whether twice.
    """
    return value * (1 + twice)


class Holder:
    """With something old in it."""

    @deprecated(OLD)
    def method(self) -> str:
        return "method"

    @classmethod
    @deprecated(OLD)
    def made(cls) -> Holder:
        return cls()

    @property
    @deprecated(OLD)
    def prop(self) -> str:
        return "property"


@deprecated(OLD)
@attrs.frozen
class OldValue:
    """A value that is to go."""

    number: int = 0


class Derived(OldValue):
    """A user's own."""


@renamed_argument("text", "message", TEXT)
def f(message: str = "", **others: int) -> str:
    """Say it."""
    return message + "".join(others)


@renamed_argument("text", "message", TEXT)
async def g(message: str = "") -> str:
    return message


def line_of(caught: pytest.WarningsRecorder) -> str:
    """The source line at which the only warning points."""
    (each,) = caught.list
    assert each.category is DeprecationWarning
    assert each.filename == __file__
    return Path(__file__).read_text("utf-8").splitlines()[each.lineno - 1].strip()


def test_a_function_warns_where_it_is_called_and_does_the_same() -> None:
    with pytest.warns(DeprecationWarning, match="^old is deprecated since 1.2 and goes in 2.0: use new$") as caught:
        assert old(2, twice=True) == 4
    assert line_of(caught) == "assert old(2, twice=True) == 4"
    assert str(inspect.signature(old)) == "(value: 'int', *, twice: 'bool' = False) -> 'int'"
    assert old.__name__ == "old"
    assert old.__deprecated__ == OLD  # type: ignore[attr-defined]


def test_the_docstring_says_it_to_sphinx() -> None:
    assert old.__doc__ == (
        "Return the value.\n\nArgs:\n    value: What is returned.\n    twice: Whether twice."
        f"\n\n.. deprecated:: 1.2\n   {OLD}\n"
    )
    assert Holder.method.__doc__ == f"\n\n.. deprecated:: 1.2\n   {OLD}\n"
    assert f.__doc__ == f"Say it.\n\n.. deprecated:: 1.2\n   {TEXT}\n"


@pytest.mark.parametrize("used", [lambda it: it.method(), lambda it: it.made(), lambda it: it.prop])
def test_methods_of_each_kind_warn_where_they_are_used(used: Callable[[Holder], object]) -> None:
    holder = Holder()
    with pytest.warns(DeprecationWarning, match="^old is") as caught:
        assert used(holder)
    assert "lambda it: it.prop" in line_of(caught)


async def test_an_async_function_warns_at_the_call_not_at_the_await() -> None:
    @deprecated(OLD)
    async def slow(value: int) -> int:
        await asyncio.sleep(0)
        return value

    with pytest.warns(DeprecationWarning, match=" is deprecated since ") as caught:
        coroutine = slow(3)
    assert line_of(caught) == "coroutine = slow(3)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await coroutine == 3
    is_async = inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
    assert is_async(slow)
    assert not is_async(old)


def test_a_class_warns_where_an_instance_is_made_and_stays_what_it_was() -> None:
    with pytest.warns(DeprecationWarning, match=" is deprecated since ") as caught:
        value = OldValue(number=1)
    assert line_of(caught) == "value = OldValue(number=1)"
    with pytest.warns(DeprecationWarning, match=" is deprecated since ") as caught:
        Derived(2)
    assert line_of(caught) == "Derived(2)"
    assert isinstance(value, OldValue)
    assert value.number == 1
    assert str(inspect.signature(OldValue)) == "(number: 'int' = 0) -> None"
    assert pickle.loads(pickle.dumps(value)) == value
    assert OldValue.__doc__ == f"A value that is to go.\n\n.. deprecated:: 1.2\n   {OLD}\n"


def test_an_argument_goes_by_both_names() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f(message="a", x=1) == "ax"
    with pytest.warns(DeprecationWarning, match=r"^f\(text=\) is") as caught:
        assert f(text="a", x=1) == "ax"  # type: ignore[call-arg]
    assert line_of(caught).startswith('assert f(text="a", x=1)')
    assert str(inspect.signature(f)) == "(message: 'str' = '', **others: 'int') -> 'str'"
    assert f.__deprecated_arguments__ == (TEXT,)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"f\(\) got both 'text' and 'message'"):
        f(text="a", message="b")  # type: ignore[call-arg]


async def test_an_argument_of_an_async_function_warns_at_the_call() -> None:
    with pytest.warns(DeprecationWarning, match=" is deprecated since ") as caught:
        coroutine = g(text="a")  # type: ignore[call-arg]
    assert line_of(caught).startswith('coroutine = g(text="a")')
    assert await coroutine == "a"


@pytest.mark.parametrize(
    "message",
    [
        "old is deprecated",
        "old is deprecated since 1.2 and goes in 2.1: use new",
        "old is deprecated since 1.2 and goes in 2.0: use ",
        "old is deprecated since 1 and goes in 2.0: use new",
    ],
)
def test_a_message_says_since_when_until_when_and_what_to_use(message: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        deprecated(message)(len)
    with pytest.raises(ValueError, match="not of the form"):
        renamed_argument("a", "b", message)(len)


# What the changelog has to say, and when something may go.


def test_what_is_deprecated_is_in_the_changelog() -> None:
    announced = {name for release in read_releases(CHANGELOG) for name in release.deprecated}
    assert deprecated_names() - announced == set()


def test_nothing_went_before_its_time() -> None:
    assert broken_promises(read_releases(CHANGELOG)) == []


def test_deprecated_names_are_found_wherever_they_stand() -> None:
    messages = [old, Holder, OldValue, f]
    assert deprecated_names(messages) == {"old", "f(text=)"}


TEXT_OF_A_CHANGELOG = """# Changelog

## [Unreleased]

### Removed

- `Session.say`, see `Session.send`.

## [1.3.0] - 2027-05-01

### Deprecated

- `Session.say` (use Session.send), and
  `Session.send(text=)`.

### Fixed

- `Turn.text`.

## [1.0.0rc1] - 2026-11-29
"""


def test_releases_are_read_from_the_changelog() -> None:
    assert read_releases(TEXT_OF_A_CHANGELOG) == [
        Release(None, None, removed=frozenset({"Session.say", "Session.send"})),
        Release((1, 3, 0), date(2027, 5, 1), deprecated=frozenset({"Session.say", "Session.send(text=)"})),
        Release((1, 0, 0), date(2026, 11, 29), is_final=False),
    ]


OLD_NAME = frozenset({"old"})
WARNS = Release((1, 2, 0), date(2027, 1, 31), deprecated=OLD_NAME)


@pytest.mark.parametrize(
    ("releases", "why"),
    [
        ([Release((2, 0, 0), date(2027, 7, 31), removed=OLD_NAME), WARNS], ""),
        ([Release((2, 1, 0), date(2027, 8, 31), removed=OLD_NAME), WARNS], ""),
        ([Release((2, 0, 0), date(2027, 7, 30), removed=OLD_NAME), WARNS], "six months"),
        ([Release((1, 4, 0), date(2028, 1, 31), removed=OLD_NAME), WARNS], "same major version"),
        ([Release((2, 0, 0), date(2028, 1, 31), removed=OLD_NAME)], "never deprecated"),
        ([WARNS, Release((1, 1, 0), date(2026, 12, 31), removed=OLD_NAME)], "never deprecated"),
        ([Release((1, 2, 0), date(2028, 1, 1), removed=OLD_NAME, deprecated=OLD_NAME)], "never deprecated"),
        ([Release((1, 0, 0), date(2027, 1, 1), removed=OLD_NAME, is_final=False)], ""),
        ([Release((0, 3, 0), date(2026, 1, 1), removed=OLD_NAME)], ""),
        ([Release(None, None, removed=OLD_NAME), WARNS], ""),
        ([Release(None, None, removed=OLD_NAME)], "never deprecated"),
        (
            [
                Release((2, 0, 0), date(2028, 3, 1), removed=OLD_NAME),
                Release((1, 4, 0), date(2028, 2, 1), deprecated=OLD_NAME),
                WARNS,
            ],
            "",
        ),
    ],
)
def test_when_something_may_go(releases: list[Release], why: str) -> None:
    found = broken_promises(releases)
    assert [why in each and "old" in each for each in found] == ([True] if why else [])


@pytest.mark.parametrize(
    ("since", "early", "until"),
    [
        (date(2027, 8, 31), date(2028, 2, 28), date(2028, 2, 29)),
        (date(2027, 3, 1), date(2027, 8, 31), date(2027, 9, 1)),
    ],
)
def test_six_months_end_on_the_same_day_or_the_last_of_the_month(since: date, early: date, until: date) -> None:
    warns = Release((1, 2, 0), since, deprecated=OLD_NAME)
    assert broken_promises([Release((2, 0, 0), until, removed=OLD_NAME), warns]) == []
    assert len(broken_promises([Release((2, 0, 0), early, removed=OLD_NAME), warns])) == 1
