"""Marks for what is to go: it warns where it is used, and its documentation says so.

The rules of when something may go are in the documentation, on the page "Versions and upgrades".
"""

import functools
import inspect
import re
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_WORDS = re.compile(r"(?P<name>\S+) is deprecated since (?P<since>\d+\.\d+) and goes in \d+\.0: use \S.*")


def _documented(doc: str | None, message: str) -> str:
    """A docstring with Sphinx's note; the message has to say since when, until when, and what to use."""
    words = _WORDS.fullmatch(message)
    if words is None:
        raise ValueError(f"not of the form 'NAME is deprecated since 1.2 and goes in 2.0: use …': {message!r}")
    return f"{inspect.cleandoc(doc or '')}\n\n.. deprecated:: {words['since']}\n   {message}\n"


def _as_coroutine_function(wrapper: Any, wrapped: object) -> None:
    """Let a wrapper of an async function count as one, though it is called before anything is awaited."""
    if not inspect.iscoroutinefunction(wrapped):
        return
    if sys.version_info >= (3, 12):  # pragma: no cover - of two Pythons one takes each way
        inspect.markcoroutinefunction(wrapper)
    else:  # pragma: no cover
        import asyncio.coroutines

        wrapper._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001


if TYPE_CHECKING:
    # Checkers know this one by name, and read the message where it stands; it is not loaded.
    from typing_extensions import deprecated as deprecated
else:

    def deprecated(message: str, /) -> Callable[[Any], Any]:
        """Mark a function, a method or a class as one that is to go.

        A call warns with ``DeprecationWarning`` at the line that calls: of an async function too, before it is
        awaited. So does making an instance of the class, or of one that is derived from it. As ``warnings.deprecated``
        of Python 3.13 does, it leaves the message as ``__deprecated__``.

        Args:
            message: Such as ``"Session.say is deprecated since 1.2 and goes in 2.0: use Session.send"``.

        Returns:
            The decorator.

        Raises:
            ValueError: The message has another form.
        """

        def mark(target: Any) -> Any:
            doc = _documented(target.__doc__, message)
            if isinstance(target, type):
                target.__init__ = _warning(target.__init__, message)
                marked = target
            else:
                marked = _warning(target, message)
            marked.__doc__ = doc
            marked.__deprecated__ = message
            return marked

        return mark


def _warning(function: Callable[Parameters, Result], message: str) -> Callable[Parameters, Result]:
    """The same function, which warns when it is called."""

    @functools.wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return function(*args, **kwargs)

    _as_coroutine_function(wrapper, function)
    return wrapper


def renamed_argument(
    old: str, new: str, message: str
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a keyword argument go by its old name too, with a ``DeprecationWarning`` at the line that calls.

    Type checkers know the new name alone. The messages of a function stand in its ``__deprecated_arguments__``.

    Args:
        old: The name that is to go.
        new: The name that the function knows.
        message: Such as ``"Session.send(text=) is deprecated since 1.2 and goes in 2.0: use message="``.

    Returns:
        The decorator.

    Raises:
        ValueError: The message has another form.
    """

    def mark(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        doc = _documented(function.__doc__, message)

        @functools.wraps(function)
        def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__qualname__}() got both {old!r} and {new!r}, which mean the same")
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        wrapper.__doc__ = doc
        wrapper.__deprecated_arguments__ = (*getattr(function, "__deprecated_arguments__", ()), message)  # type: ignore[attr-defined]
        _as_coroutine_function(wrapper, function)
        return wrapper

    return mark
