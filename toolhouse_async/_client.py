"""The client."""

from __future__ import annotations

import os
import random
import re
import ssl
from collections.abc import AsyncIterable, Iterable, Mapping
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self, Unpack
from urllib.parse import urlsplit

from ._core import Core
from ._held import Turn
from ._http.credentials import ApiKey, Credentials, sealed
from ._http.service import HTTPService
from ._http.transport import AiohttpTransport
from ._map import MapIterator
from ._run.conversation import NO_EXTRAS, Conversation, Extras
from ._session import BackgroundJobWaiter, Session, make_options
from ._turn.knowledge import Rules
from ._values.nested import half_made
from ._values.options import TurnOptions
from ._values.results import JobStatus, JobToken, Message, TurnResult
from ._values.settings import Limits, PollingPolicy, RecoveryPolicy, RetryPolicy, Timeouts
from ._version import __version__
from ._wire.decode import EventDecoder
from ._wire.ids import agent_id_of, check_id
from .errors import ConfigurationError

BASE_URL: Final = "https://agents.toolhouse.ai"
"""The service, by its documentation."""


class AsyncToolhouse:
    """A client of Toolhouse's Workers API.

    Use it as an async context manager, one per event loop (a web application: one per process), and share it: it
    keeps connections open between requests. It may be created anywhere; the first event loop that uses it is its
    own.

    Args:
        api_key: The key; or a sync or async callable that returns one, asked before each request; or ``None`` for
            the environment variable ``TOOLHOUSE_API_KEY``; ``""``, there too, for a public worker.
        base_url: The service; ``None`` is ``TOOLHOUSE_BASE_URL`` or else ``https://agents.toolhouse.ai``.
        timeouts: Times to wait.
        retries: When a request is sent again that was not accepted.
        polling: How background jobs are waited for.
        recovery: How cut answers are healed.
        limits: Upper bounds.
        decoder: Decodes NDJSON lines; pass your own to register shapes of events.
        headers: More headers for every request.
        proxy: The URL of an HTTP proxy. Those of the environment are not used.
        ssl_context: Trusted certificates and TLS settings; the default verifies.
        allow_insecure: Allow ``http://`` to hosts other than this machine, or through a proxy on another.

    Raises:
        ConfigurationError: An argument is wrong; the message says what to do.
    """

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        base_url: str | None = None,
        timeouts: Timeouts = Timeouts(),
        retries: RetryPolicy = RetryPolicy(),
        polling: PollingPolicy = PollingPolicy(),
        recovery: RecoveryPolicy = RecoveryPolicy(),
        limits: Limits = Limits(),
        decoder: EventDecoder | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
    ) -> None:
        key = sealed(api_key)
        del api_key  # no frame that an error leaves holds it
        if base_url is None:
            base_url = os.environ.get("TOOLHOUSE_BASE_URL") or BASE_URL
        self._base_url = _checked_url(base_url, "base_url", allow_insecure=allow_insecure)
        if proxy is not None:
            _checked_url(proxy, "proxy", allow_insecure=True)
            _check_way(self._base_url, proxy, allow_insecure=allow_insecure)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError(
                "ssl_context must be an ssl.SSLContext or None; certificates are always verified by default"
            )
        self._transport = AiohttpTransport(
            self._base_url,
            timeouts=timeouts,
            limits=limits,
            headers={
                **_checked_headers(headers or {}),
                "Accept-Encoding": "identity",
            },
            proxy=proxy,
            ssl_context=ssl_context,
        )
        service = HTTPService(
            self._transport,
            Credentials(key),
            retries=retries,
            timeouts=timeouts,
            limits=limits,
            randomness=random.SystemRandom(),  # has no state that processes made by fork would share
        )
        self._core = Core(
            service,
            timeouts=timeouts,
            rules=Rules(polling, recovery, decoder or EventDecoder(), limits.max_line),
        )

    async def __aenter__(self) -> Self:
        self._core.check_usable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @half_made
    def __repr__(self) -> str:
        return f"<AsyncToolhouse of {self._base_url}>"

    async def aclose(self) -> None:
        """End live turns with ``ClosedError`` and close every connection. Idempotent."""
        self._core.close()
        await self._transport.aclose()

    def session(
        self,
        agent_id: str,
        *,
        run_id: str | None = None,
        toolhouse_id: str | None = None,
        vars: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own word
        bundle: str | None = None,
    ) -> Session:
        """Begin a conversation, or go on with one.

        Args:
            agent_id: The worker's id or URL.
            run_id: The conversation to go on with.
            toolhouse_id: The end user, for the worker's integrations; goes with every message.
            vars: Variables of the worker's prompt; go with every message.
            bundle: The tools' bundle; goes with every message.

        Raises:
            ConfigurationError: An id is not one.
            ClosedError: The client is closed.
        """
        self._core.check_open()
        given = toolhouse_id is not None or vars is not None or bundle is not None
        extras = Extras(toolhouse_id, vars, bundle) if given else NO_EXTRAS
        return Session(self._conversation(agent_id, run_id, extras))

    def _conversation(self, agent_id: str, run_id: str | None, extras: Extras = NO_EXTRAS) -> Conversation:
        return Conversation(self._core, agent_id_of(agent_id, self._base_url, BASE_URL), run_id, extras)

    def stream(self, agent_id: str, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> Turn:
        """Prepare the first turn of a new conversation; nothing is sent before its first step.

        Args:
            agent_id: The worker's id or URL.
            message: What to say; ``None`` starts the run without a message.
            **turn_options: As for :meth:`Session.stream`. For ``vars``, ``toolhouse_id`` or ``bundle`` make a session.

        Raises:
            ConfigurationError: An argument is wrong.
            ClosedError: The client is closed.
        """
        return Session(self._conversation(agent_id, None)).stream(message, **turn_options)

    async def run(self, agent_id: str, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> TurnResult:
        """Make the first turn of a new conversation and return its result.

        Raises:
            ToolhouseError: The turn failed; see the tree in :mod:`toolhouse_async.errors`.

        Cancelling closes the turn; the message was sent by then or not.
        """
        return await self.stream(agent_id, message, **turn_options).result()

    async def history(self, agent_id: str, run_id: str) -> list[Message]:
        """Read a conversation: one GET, retried as reads may be.

        Raises:
            ToolhouseError: It cannot be read.

        May be cancelled and repeated at will.
        """
        return await self._conversation(agent_id, check_id(run_id, "run id")).history()

    async def job_status(self, agent_id: str, run_id: str) -> JobStatus:
        """Ask once whether a background job is running on a run.

        Raises:
            ToolhouseError: The run cannot be read.

        May be cancelled and repeated at will.
        """
        return await self._conversation(agent_id, check_id(run_id, "run id")).read()

    def wait_for_job(
        self,
        token_or_session: JobToken | Session,
        *,
        resume_message: str = "",
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> BackgroundJobWaiter:
        """Prepare to wait for a background job, from a session or from a token of any process.

        Raises:
            ConfigurationError: An argument is wrong, or the session has no run yet.
            ClosedError: The client is closed.
        """
        self._core.check_open()
        if isinstance(token_or_session, JobToken):
            token = token_or_session
            conversation = self._conversation(token.agent_id, token.run_id)
            conversation.run.job = token
            session = Session(conversation)
        elif isinstance(token_or_session, Session):
            session = token_or_session
            if session._conversation.core is not self._core:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                raise ConfigurationError("the session belongs to another client")
        else:
            raise ConfigurationError(
                f"wait_for_job takes a JobToken or a Session, not {type(token_or_session).__name__}"
            )
        return BackgroundJobWaiter(session, resume_message=resume_message, polling=polling, timeout=timeout)

    def map(
        self,
        agent_id: str,
        messages: Iterable[str | None] | AsyncIterable[str | None],
        *,
        concurrency: int = 10,
        ordered: bool = False,
        **turn_options: Unpack[TurnOptions],
    ) -> MapIterator:
        """Send many messages, each in a conversation of its own.

        Args:
            agent_id: The worker's id or URL.
            messages: An iterable or async iterable; pulled as there is room, so it may be endless.
            concurrency: Turns under way at once.
            ordered: Give items in the order of the messages, not as they are done.
            **turn_options: See :class:`~toolhouse_async.TurnOptions`; for every turn.

        Returns:
            An async iterator of :class:`~toolhouse_async.MapItem`, each with a result or an error: a failure never
            ends the batch. What ``messages`` itself raises is raised when the turns under way are done.

        Raises:
            ConfigurationError: An argument is wrong.
        """
        self._core.check_open()
        agent_id = agent_id_of(agent_id, self._base_url, BASE_URL)
        make_options(turn_options)
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(f"concurrency must be at least 1, not {concurrency!r:.80}")
        if isinstance(messages, str | bytes) or not isinstance(messages, Iterable | AsyncIterable):
            raise ConfigurationError("messages must be an iterable or async iterable of messages")
        return MapIterator(
            lambda message: self.run(agent_id, message, **turn_options),
            messages,
            check=self._core.check_loop,
            concurrency=concurrency,
            ordered=ordered,
        )


def _checked_url(url: str, what: str, *, allow_insecure: bool) -> str:
    if not isinstance(url, str) or not url.isprintable() or any(c in url for c in " \\"):
        raise ConfigurationError(f"{what} is not a URL{_quoted(url, what)}")
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        parts, valid = None, False
    if parts is None:  # raised here, since the error that is handled above may quote a password
        raise ConfigurationError(f"{what} is not a URL{_quoted(url, what)}{_ENCODE if '@' in url else ''}")
    if not valid:
        raise ConfigurationError(f"{what} must be an http:// or https:// URL{_quoted(url, what)}")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ConfigurationError(f"{what} has an @ behind its host: {_shown(url)}{_ENCODE}")
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{what} takes no query or fragment: {_shown(url)}")
    if what == "base_url" and "@" in url:
        raise ConfigurationError("base_url takes no user or password; pass the key as api_key")
    if parts.scheme == "http" and not allow_insecure and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{what} is http:// and would send the key in the clear to {parts.hostname}: "
            "use https://, or pass allow_insecure=True if you mean it"
        )
    return url.rstrip("/")


def _check_way(base_url: str, proxy: str, *, allow_insecure: bool) -> None:
    """Refuse a way on which a proxy elsewhere reads the key: TLS alone hides it from one, and HTTP goes through one."""
    host = urlsplit(proxy).hostname or ""
    if urlsplit(base_url).scheme == "http" and not allow_insecure and not _is_loopback(host):
        raise ConfigurationError(
            f"base_url is http:// and would send the key in the clear through the proxy {host}: "
            "use https://, leave proxy= out, or pass allow_insecure=True if you mean it"
        )


_ENCODE: Final = " (write an @, : / ? or # of a user or password as %40, %3A, %2F, %3F or %23)"


def _quoted(url: object, what: str) -> str:
    """Show what is no URL; of a proxy no more than a scheme, a host and a port, since all else may be a password."""
    if what == "proxy" and not (isinstance(url, str) and _HOST_AND_PORT.fullmatch(url)):
        return ", such as http://host:3128"
    return f": {_shown(url)}"


_HOST_AND_PORT: Final = re.compile(r"([a-z][a-z0-9+.-]*://)?[\w.-]+(:[0-9]{1,5})?/?", re.IGNORECASE)


def _shown(url: object) -> str:
    """A URL without what stands before its last @, which may be a password, and without a query or fragment."""
    shown = re.sub(r"(?is).*(?:@|\N{FULLWIDTH COMMERCIAL AT}|\N{SMALL COMMERCIAL AT}|%40)", "…@", repr(url))
    return re.sub(r"(?s)([?#]).+", r"\1…", shown)[:200]


def _is_loopback(host: str) -> bool:
    if host == "localhost":  # not what lies below it: many systems ask the network's DNS for that
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError("headers must be a mapping of names to values")
    checked = {"User-Agent": f"toolhouse-async/{__version__}", "Accept": "*/*"}
    for name, value in headers.items():
        valid = isinstance(name, str) and _HEADER_NAME.fullmatch(name) and isinstance(value, str)
        if not valid or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(f"header {name!r:.80} is not a name of HTTP with a value of printable Latin-1")
        if name.lower() in _OURS:
            raise ConfigurationError(f"header {name!r:.80} is set by the client itself")
        checked[name] = value
    return checked


_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset(
    (
        "authorization",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "transfer-encoding",
    )
)
