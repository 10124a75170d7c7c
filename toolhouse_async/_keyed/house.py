"""What all uses of one manager's keys share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from attrs import Factory, define, field

from ..errors import ClosedError
from .gates import Gates
from .lease import PATIENCE

if TYPE_CHECKING:
    from .._run.conversation import Conversation
    from ..stores import SessionStore


class Use(Protocol):
    """One use of one key."""

    @property
    def conversation(self) -> Conversation:
        """The conversation of the key."""
        ...

    def close(self) -> None:
        """Close the conversation because the manager is closed."""
        ...


@define(eq=False)
class House:
    """What all uses of one manager's keys share.

    Attributes:
        prefix: What the names of keys begin with in the store: workers may share one.
        store: Where keys are kept.
        ttl: Seconds of silence after which a conversation starts afresh.
        restarts: Whether a conversation begins anew that the service does not know.
        length: Seconds of a lease.
        patience: Seconds for which a store that fails is asked again.
        gates: The order of this process's tasks.
        live: The uses under way.
        waits: The waits for keys under way.
        tasks: What goes on in the background.
        given_up: Keys whose message this process has given up while it was being sent, and when it let go of each.
        is_closed: Whether no more may begin.
    """

    prefix: str
    store: SessionStore
    ttl: float | None
    restarts: bool
    length: float
    patience: float = field(default=Factory(lambda self: min(self.length, PATIENCE), takes_self=True))
    gates: Gates = field(factory=Gates)
    live: set[Use] = field(factory=set["Use"])
    waits: set[asyncio.Timeout] = field(factory=set[asyncio.Timeout])
    tasks: set[asyncio.Task[Any]] = field(factory=set["asyncio.Task[Any]"])
    given_up: dict[str, float] = field(factory=dict[str, float])
    is_closed: bool = False

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background, which :meth:`settle` waits for."""
        try:
            task = asyncio.get_running_loop().create_task(coroutine)
        except RuntimeError:
            coroutine.close()  # the event loop is gone, and nothing can be waited for any more
            raise
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def name(self, key: str) -> str:
        """The name of a key in the store."""
        return f"{self.prefix}{key}"

    def check_open(self) -> None:
        """Check that the manager is open.

        Raises:
            ClosedError: It was closed.
        """
        if self.is_closed:
            raise ClosedError("the session manager is closed", safe_to_retry=True)

    @asynccontextmanager
    async def until_closed(self) -> AsyncGenerator[None]:
        """End what is waited for inside once the manager is closed.

        Raises:
            ClosedError: It was.
        """
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self.waits.add(wait)
                try:
                    yield
                finally:
                    self.waits.discard(wait)
        except TimeoutError:
            self.check_open()
            raise  # a store's own

    def close(self) -> None:
        """Let no use begin any more, and end the waits for keys. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            for wait in self.waits:
                wait.reschedule(0)

    async def settle(self) -> None:
        """Wait until nothing goes on in the background."""
        while self.tasks:
            await asyncio.wait(self.tasks)
