"""Connections to a Redis server, for all that keep something there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from ..errors import ClosedError, ConfigurationError, StoreError
from ._home import Home

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import AuthenticationError, MasterDownError, ReadOnlyError, RedisError, ResponseError
    from redis.exceptions import ConnectionError as RedisConnectionError
except ImportError:
    raise ConfigurationError(
        "RedisSessionStore and RedisTurnHub need redis: pip install 'toolhouse-async[redis]'"
    ) from None

__all__ = ["Connections", "encoded", "name_prefix"]

T = TypeVar("T")

CONNECTIONS: Final = 20
PATIENCE: Final = 5.0
"""Seconds that a connection or an answer may take."""

NO_PRIMARY: Final = re.compile("READONLY|MASTERDOWN|NOREPLICAS")
"""What a server says that is no primary, or none any more, where redis-py has no exception for that."""
LASTING: Final = re.compile(
    "DB index|invalid database|unknown (redis )?command|NOAUTH|WRONGPASS|NOPERM|no permissions|ACL failure|"
    "protected mode|wrong kind of value",
    re.IGNORECASE,
)
"""What a server says that asking again does not change: a number, a name, a password, a right or a setting is wrong."""
ENCODE: Final = (
    "characters such as / # ? @ in its user's name or password must be encoded: urllib.parse.quote(password, safe='')"
)


class Connections:
    """Connections to one server, made as they are needed; one event loop uses them.

    Attributes:
        client: The client of redis-py, by which calls are made; each within :meth:`ask`.
        patience: Seconds that an answer may take.
    """

    def __init__(self, url: str, what: str) -> None:
        """Prepare to connect.

        Args:
            url: The server.
            what: Whose they are, in the words of errors: ``"store"``.

        Raises:
            ConfigurationError: The URL is none.
        """
        pool = _pool(url)
        self.client: Any = Redis.from_pool(pool)
        self.patience: float = pool.connection_kwargs.get("socket_timeout") or PATIENCE
        self._what = what
        self._home = Home(what)
        self._closed = False
        self._answered_at = float("-inf")

    def check_open(self) -> None:
        """Refuse what is closed.

        Raises:
            ClosedError: It is.
        """
        if self._closed:
            raise ClosedError(f"the {self._what} is closed")

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call.

        Raises:
            StoreError: It failed.
            ClosedError: They are closed.
            ConfigurationError: The connections belong to another event loop or process.
        """
        self.check_open()
        self._home.check()
        task = asyncio.current_task()
        cancelled = task.cancelling() if task is not None else 0
        why, lasts, answer = "", False, None
        try:
            answer = await self._ask_in_turn(call)
        except Exception as error:
            # Closing takes the connection from under a call: asyncio of 3.13 then fails by a TypeError, for one.
            if not (self._closed or isinstance(error, RedisError | OSError)):
                raise
            why, lasts = f"{type(error).__name__}: {error}", _is_lasting(error)
        finally:
            if self._closed:  # meanwhile, and this call has connected again
                await self.client.aclose()
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError  # redis-py sends by asyncio.wait_for(), which may swallow it before 3.12
        if why:
            self.check_open()
            failure = StoreError(f"Redis: {why:.300}")
            failure.is_lasting = lasts
            raise failure
        return cast("T", answer)

    async def _ask_in_turn(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask once there is a connection: however many wait for one, as long as the server answers those before."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                answer = await self._ask_primary(call)
            except RedisConnectionError as error:
                silent_for = loop.time() - max(began, self._answered_at)
                if not _has_waited_only(error) or silent_for > self.patience:
                    raise
            else:
                self._answered_at = loop.time()
                return answer

    async def _ask_primary(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask again, by new connections, where the server is no primary any more: then it has changed nothing."""
        try:
            return await call()
        except ResponseError as error:
            if not (isinstance(error, ReadOnlyError | MasterDownError) or NO_PRIMARY.search(str(error))):
                raise
        await self.client.connection_pool.disconnect(inuse_connections=False)
        return await call()

    async def aclose(self) -> None:
        """Close them. Idempotent."""
        self._closed = True
        if self._home.is_elsewhere or self._home.is_closed:
            return  # they are not ours, or gone already
        self._home.check()
        await self.client.aclose()


def _is_lasting(error: BaseException | None) -> bool:
    """Whether asking again cannot help: by the error, or by what has kept a connection from being made."""
    if not isinstance(error, RedisError):
        return False
    return isinstance(error, AuthenticationError) or bool(LASTING.search(str(error))) or _is_lasting(error.__cause__)


def _has_waited_only(error: RedisConnectionError) -> bool:
    """Whether a call has got no connection in the time that the pool waits for one, so that nothing was sent."""
    return str(error) == "No connection available."


def encoded(text: str) -> bytes:
    """Any text as the bytes of a name."""
    return text.encode("utf-8", "surrogatepass")


def name_prefix(prefix: str) -> bytes:
    """What the names of strings begin with; none is the beginning of another, since each ends with its only colon."""
    return encoded(prefix).replace(b"%", b"%25").replace(b":", b"%3A") + b":"


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
                # Silence is not asked again here: each time would cost PATIENCE, and who asks has a deadline.
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2, (RedisConnectionError,)),
            )
            pool.connection_class(**pool.connection_kwargs)  # which knows the options
        except (ValueError, TypeError, AttributeError, RedisError):
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
