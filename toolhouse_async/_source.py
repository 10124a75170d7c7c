"""What users give to be done one by one: an iterable or async iterable, pulled as there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from .errors import ConfigurationError

T = TypeVar("T")


def check_items(name: str, items: object, of_what: str, of_table: str) -> None:
    """Refuse what is iterable and no series of items: a text, a mapping, a DataFrame of pandas or polars.

    Args:
        name: The argument.
        items: Its value.
        of_what: What it should give.
        of_table: What to take of a table in its place.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable | AsyncIterable):
        kind = type(items).__name__
        hint = f"; of a table pass {of_table}" if isinstance(items, Mapping) else ""  # such as frame.to_dict()
        raise ConfigurationError(f"{name} must be an iterable or async iterable of {of_what}, not {kind}{hint}")
    if hasattr(items, "itertuples") or hasattr(items, "to_dicts"):  # of pandas, of polars
        raise ConfigurationError(f"{name} is a table, which gives its columns, not its rows: pass {of_table}")


class Source(Generic[T]):
    """The items of an iterable or async iterable, one at a time; nothing is pulled before it is asked for.

    Attributes:
        is_over: Whether there are no more.
        error: What the iterable has raised, if that is why.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T], wake: Callable[[], None]) -> None:
        """Begin with the first.

        Args:
            items: The user's.
            wake: Called when an item that was asked for has come.
        """
        self._items: Iterator[T] | AsyncIterator[T]
        self._items = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._wake = wake
        self._pull: asyncio.Task[T] | None = None
        self.is_over: bool = False
        self.error: Exception | None = None

    def take(self) -> tuple[T] | None:
        """The next item, in a tuple; ``None`` if there is none yet, or no more."""
        if self.is_over:
            return None
        if not isinstance(self._items, AsyncIterator):
            return self._taken(self._items.__next__)
        if self._pull is None:
            wake = self._wake
            self._pull = asyncio.ensure_future(_next(self._items))
            self._pull.add_done_callback(lambda _: wake())
        if not self._pull.done():
            return None
        pull, self._pull = self._pull, None
        return self._taken(pull.result)

    def _taken(self, take: Callable[[], T]) -> tuple[T] | None:
        try:
            return (take(),)
        except (StopIteration, StopAsyncIteration):
            self.is_over = True
        except Exception as error:  # noqa: BLE001 - the user's iterable raised it; it is raised when all is done
            self.is_over, self.error = True, error
        return None

    @property
    def pull(self) -> asyncio.Task[T] | None:
        """What waits for the next item, if anything does."""
        return self._pull


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)
