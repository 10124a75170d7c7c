"""A store on a Redis server, for many machines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from ..errors import ClosedError, ConfigurationError, StoreError
from ._home import Home
from ._protocol import Reading

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError
except ImportError:
    raise ConfigurationError("RedisSessionStore needs redis: pip install 'toolhouse-async[redis]'") from None

T = TypeVar("T")

CONNECTIONS: Final = 20
PATIENCE: Final = 5.0
"""Seconds that a connection or an answer may take."""
PAGE: Final = 500

NO_PRIMARY: Final = re.compile("READONLY|MASTERDOWN|NOREPLICAS")
"""What a server says that is no primary, or none any more, where redis-py has no exception for that."""
ENCODE: Final = (
    "characters such as / # ? @ in its user's name or password must be encoded: urllib.parse.quote(password, safe='')"
)
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
        self._client: Any = Redis.from_pool(_pool(url))
        # No prefix is the beginning of another: each ends with its only colon.
        self._prefix = _encoded(prefix).replace(b"%", b"%25").replace(b":", b"%3A") + b":"
        self._read = self._client.register_script(READ)
        self._swap = self._client.register_script(SWAP)
        self._home = Home()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def read(self, key: str) -> Reading:
        """See :meth:`SessionStore.read`."""
        value, (seconds, microseconds) = await self._ask(partial(self._read, keys=[self._name(key)]))
        return Reading(value, int(seconds) + int(microseconds) / 1e6)

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """See :meth:`SessionStore.swap`."""
        values: list[bytes | int] = [int(old is not None), old or b"", int(new is not None), new or b""]
        return bool(await self._ask(partial(self._swap, keys=[self._name(key)], args=values)))

    async def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See :meth:`SessionStore.entries`. One that is made or taken away meanwhile may be missed."""
        pattern = re.sub(rb"([\\*?\[\]^-])", rb"\\\1", self._name(prefix)) + b"*"
        seen: set[bytes] = set()  # the server may name a key more than once
        cursor = 0
        while True:
            cursor, found = await self._ask(partial(self._client.scan, cursor, match=pattern, count=PAGE))
            names = [name for name in dict.fromkeys(found) if name not in seen]
            seen.update(names)
            values = await self._ask(partial(self._client.mget, names)) if names else []
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    yield name[len(self._prefix) :].decode("utf-8", "surrogatepass"), value
            if not int(cursor):
                return

    async def aclose(self) -> None:
        """See :meth:`SessionStore.aclose`. Later calls are refused with ``ClosedError``."""
        self._closed = True
        if self._home.is_elsewhere or self._home.is_closed:
            return  # its connections are not ours, or gone already
        self._home.check()
        await self._client.aclose()

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        self._home.check()
        try:
            return await self._ask_primary(call)
        except (RedisError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
        raise StoreError(f"Redis: {why:.300}")

    async def _ask_primary(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask again, by new connections, where the server is no primary any more: then it has changed nothing."""
        try:
            return await call()
        except ResponseError as error:
            if not (isinstance(error, ReadOnlyError | MasterDownError) or NO_PRIMARY.search(str(error))):
                raise
        await self._client.connection_pool.disconnect(inuse_connections=False)
        return await call()

    def _name(self, key: str) -> bytes:
        if self._closed:
            raise ClosedError("the store is closed")
        return self._prefix + _encoded(key)


def _pool(url: str) -> Any:
    """Connections by a URL.

    Raises:
        ConfigurationError: It is none. Nothing of it is in the error, since any part may be of a password.
    """
    why = _fault(url)
    pool: Any = None
    if not why:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
            )
            pool.connection_class(**pool.connection_kwargs)  # which knows the options
        except (ValueError, TypeError, AttributeError):
            why = "an option behind the ? is unknown, or its value is none that it takes"
    if not why and pool.connection_kwargs.get("decode_responses"):
        why = "decode_responses cannot be set"
    if why:
        raise ConfigurationError(f"not the URL of a Redis server: {why}")
    return pool


def _fault(url: object) -> str:
    """What is wrong with a URL; empty if redis-py will understand all of it."""
    if not isinstance(url, str):
        return f"it must be a string, not {type(url).__name__}"
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("redis", "rediss", "unix"):
        return "it must begin with redis://, rediss:// or unix://"
    is_unix = scheme.lower() == "unix"
    authority, behind = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr] # always
    if "#" in behind or ("@" in behind and not (is_unix and not authority)) or not url.isprintable():
        return ENCODE
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"its host or port cannot be read; {ENCODE}"
    if is_unix:
        return "" if not authority or authority.endswith("@") else ENCODE
    if not re.fullmatch(r"/?\d*", parts.path):
        return "what follows the host must be the number of a database"
    return ""


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
