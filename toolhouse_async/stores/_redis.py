"""A store on a Redis server, for many machines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Final, Self

from ._protocol import Reading
from ._server import Connections, encoded, name_prefix

PAGE: Final = 500

READ: Final = "return {redis.call('GET', KEYS[1]), redis.call('TIME')}"
SWAP: Final = """
local value = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
    if value then return 0 end
elseif value ~= ARGV[2] then
    return 0
end
if ARGV[3] == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[4])
end
return 1
"""


class RedisSessionStore:
    """Keeps sessions on a Redis server: for any number of processes on any machines. Needs the extra ``[redis]``.

    Each session is one string of Redis, changed by a script in one step; the clock is the server's. The server needs
    version 5 or later, a policy that evicts nothing (``noeviction``), and ``appendonly yes`` where sessions are to
    outlive its own restart.

    **What a fail-over can lose.** Redis answers before its replicas have a change. If a replica takes over that has not
    had the last changes, each key stands as it stood before them: a lease may be given a second time while its first
    holder still believes in it, until that one's next change fails; a conversation may have lost the run id of its
    first answer, and goes on as a new one; and of a message that was being sent just then, the note may be lost that
    its outcome is unknown. No message is sent twice by that. A primary that is cut off goes on answering whoever can
    still reach it: ``min-replicas-to-write 1`` bounds that.

    One event loop uses a store. :meth:`aclose` or ``async with`` closes its connections.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, verified) or ``unix://``, as redis-py takes it. Names and passwords in it
            are percent-encoded.
        prefix: What the names of its strings begin with, before a colon; one within it is written ``%3A``. Stores with
            different ones do not see each other's, whatever those are.

    Raises:
        ConfigurationError: The URL is none, or redis-py is not installed; or, at its use, it belongs to another event
            loop, or to the process that this one was forked from.
    """

    def __init__(self, url: str, *, prefix: str = "toolhouse") -> None:
        self._connections = Connections(url, "store")
        self._client = self._connections.client
        self._prefix = name_prefix(prefix)
        self._read = self._client.register_script(READ)
        self._swap = self._client.register_script(SWAP)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def read(self, key: str) -> Reading:
        """See :meth:`SessionStore.read`."""
        value, (seconds, microseconds) = await self._connections.ask(partial(self._read, keys=[self._name(key)]))
        return Reading(value, int(seconds) + int(microseconds) / 1e6)

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """See :meth:`SessionStore.swap`."""
        values: list[bytes | int] = [int(old is not None), old or b"", int(new is not None), new or b""]
        return bool(await self._connections.ask(partial(self._swap, keys=[self._name(key)], args=values)))

    async def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See :meth:`SessionStore.entries`. One that is made or taken away meanwhile may be missed."""
        pattern = re.sub(rb"([\\*?\[\]^-])", rb"\\\1", self._name(prefix)) + b"*"
        seen: set[bytes] = set()  # the server may name a key more than once
        cursor = 0
        while True:
            cursor, found = await self._connections.ask(partial(self._client.scan, cursor, match=pattern, count=PAGE))
            names = [name for name in dict.fromkeys(found) if name not in seen]
            seen.update(names)
            values = await self._connections.ask(partial(self._client.mget, names))
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    yield name[len(self._prefix) :].decode("utf-8", "surrogatepass"), value
            if not int(cursor):
                return

    async def aclose(self) -> None:
        """See :meth:`SessionStore.aclose`. Later calls are refused with ``ClosedError``."""
        await self._connections.aclose()

    def _name(self, key: str) -> bytes:
        self._connections.check_open()
        return self._prefix + encoded(key)
