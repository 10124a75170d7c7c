"""Requests that are observed: each is told of when it begins, and when its answer's head has come or it has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from .. import observe
from .._observers import Observers
from .._wire.requests import Request

_NUMBERS: Final = count(1)


class ObservedRequests:
    """What tells of the requests of one turn, or of those outside of turns."""

    __slots__ = ("_base_url", "_observers", "_turn")

    def __init__(self, observers: Observers, base_url: str, turn: int | None = None) -> None:
        """Prepare.

        Args:
            observers: Who is told.
            base_url: Where requests go.
            turn: The number of the turn that they are for.
        """
        self._observers = observers
        self._base_url = base_url
        self._turn = turn

    def of_turn(self, turn: int | None) -> ObservedRequests:
        """The same for the requests of a turn."""
        return ObservedRequests(self._observers, self._base_url, turn)

    @contextmanager
    def told(self, request: Request, attempt: int) -> Generator[Callable[[int], None], None, None]:
        """Tell of the request that is sent in the block, for the ``attempt``-th time.

        Yields:
            What is called with the status of the answer.
        """
        tell, time = self._observers.tell, asyncio.get_running_loop().time
        about: dict[str, Any] = {
            "request": next(_NUMBERS),
            "turn": self._turn,
            "method": request.method,
            "url": self._base_url + request.path,
            "attempt": attempt,
            "run_id": request.run_id,
        }
        tell(observe.RequestBegun(**about))
        began = time()
        try:
            yield lambda status: tell(observe.RequestAnswered(**about, status=status, seconds=time() - began))
        except BaseException as error:
            tell(observe.RequestFailed(**about, error=type(error).__name__, seconds=time() - began))
            raise
