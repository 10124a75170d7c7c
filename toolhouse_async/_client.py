"""The client."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from logging import INFO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from ._core import Core
from ._held import Turn
from ._http.addresses import check_way, checked_url
from ._http.credentials import ApiKey, Credentials, sealed
from ._http.service import HTTPService
from ._http.transport import AiohttpTransport
from ._log import log
from ._map import MapIterator
from ._run.conversation import NO_EXTRAS, Conversation, Extras
from ._session import BackgroundJobWaiter, Session, make_options
from ._source import check_items
from ._turn.knowledge import Rules
from ._values.headers import check_headers
from ._values.nested import half_made
from ._values.options import TurnOptions, check_count
from ._values.results import JobStatus, JobToken, Message, TurnResult
from ._values.settings import Limits, PollingPolicy, RecoveryPolicy, RetryPolicy, Timeouts, check_setting
from ._version import __version__
from ._wire.decode import EventDecoder
from ._wire.ids import agent_id_of, check_id
from .errors import ConfigurationError

if TYPE_CHECKING:
    from ._batch.batch import Batch
    from ._http.observed import ObservedRequests
    from ._observers import Observers
    from .observe import Observer
    from .stores import SessionStore

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
        observers: Who is told what its turns and requests do: each an :class:`~toolhouse_async.observe.Observer`.

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
        observers: Iterable[Observer] = (),
    ) -> None:
        key = sealed(api_key)
        del api_key  # no frame that an error leaves holds it
        what = "base_url"
        if base_url is None:
            what, base_url = "TOOLHOUSE_BASE_URL", os.environ.get("TOOLHOUSE_BASE_URL") or BASE_URL
        self._base_url = checked_url(base_url, what, allow_insecure=allow_insecure)
        if proxy is not None:
            checked_url(proxy, "proxy", allow_insecure=True)
            check_way(self._base_url, proxy, allow_insecure=allow_insecure)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError(
                "ssl_context must be an ssl.SSLContext or None; certificates are always verified by default"
            )
        check_setting("timeouts", timeouts, Timeouts)
        check_setting("retries", retries, RetryPolicy)
        check_setting("polling", polling, PollingPolicy)
        check_setting("recovery", recovery, RecoveryPolicy)
        check_setting("limits", limits, Limits)
        if decoder is not None and not isinstance(decoder, EventDecoder):
            raise ConfigurationError(f"decoder must be an EventDecoder or None, not {type(decoder).__name__}")
        self._transport = AiohttpTransport(
            self._base_url,
            timeouts=timeouts,
            limits=limits,
            headers={**_with_defaults(check_headers(headers or {})), "Accept-Encoding": "identity"},
            proxy=proxy,
            ssl_context=ssl_context,
        )
        self._credentials = Credentials(key)
        told, requests = _prepared(observers, self._base_url) if observers or log.isEnabledFor(INFO) else (None, None)
        service = HTTPService(
            self._transport,
            self._credentials,
            retries=retries,
            timeouts=timeouts,
            limits=limits,
            randomness=random.SystemRandom(),  # has no state that processes made by fork would share
            observed=requests,
        )
        rules = Rules(polling, recovery, decoder or EventDecoder(), limits.max_line)
        self._core = Core(service, rules=rules, observers=told)

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

        ``toolhouse_id``, ``vars`` and ``bundle`` go with each message of yours, its POST or PUT. The automatic resume
        after a background job sends its message alone: what a worker needs then, it takes from the conversation.

        Args:
            agent_id: The worker's id or URL.
            run_id: The conversation to go on with.
            toolhouse_id: The end user, for the worker's integrations.
            vars: Variables of the worker's prompt.
            bundle: The tools' bundle.

        Raises:
            ConfigurationError: An id is not one.
            ClosedError: The client is closed.
        """
        self._core.check_open()
        given = toolhouse_id is not None or vars is not None or bundle is not None
        extras = Extras(toolhouse_id, vars, bundle) if given else NO_EXTRAS
        return Session(self._conversation(agent_id, run_id, extras))

    def _conversation(self, agent_id: str, run_id: str | None, extras: Extras = NO_EXTRAS) -> Conversation:
        return Conversation(self._core, self._agent_id(agent_id), run_id, extras)

    def _agent_id(self, value: str) -> str:
        agent_id = agent_id_of(value, self._base_url, BASE_URL)
        self._credentials.refuse(agent_id)
        return agent_id

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

    async def recover(
        self, agent_id: str, run_id: str, message: str | None = None, **turn_options: Unpack[TurnOptions]
    ) -> TurnResult:
        """Get the answer to a message that another process has sent; as :meth:`Session.recover`.

        Raises:
            ToolhouseError: See there.

        May be cancelled and repeated at will.
        """
        return await Session(self._conversation(agent_id, check_id(run_id, "run id"))).recover(message, **turn_options)

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
            kind = type(token_or_session).__name__
            hint = ""
            if token_or_session is None:
                hint = ": a turn whose token is None has left no job"
            elif isinstance(token_or_session, str | bytes | Mapping):
                hint = ": JobToken.from_json(text) makes a token of its JSON text"
            raise ConfigurationError(f"wait_for_job takes a JobToken or a Session, not {kind}{hint}")
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
        agent_id = self._agent_id(agent_id)
        make_options(turn_options, ("concurrency", "ordered"))
        concurrency = check_count(concurrency, "concurrency")
        check_items("messages", messages, "strings", "one column, such as frame['question']")
        return MapIterator(
            lambda message: self.run(agent_id, message, **turn_options),
            messages,
            check=self._core.check_loop,
            concurrency=concurrency,
            ordered=ordered,
        )

    def batch(
        self,
        agent_id: str,
        rows: Iterable[Any] | AsyncIterable[Any],
        *,
        store: SessionStore,
        name: str,
        key: Callable[[Any, int], str] | None = None,
        template: str | None = None,
        concurrency: int = 10,
        rate: float | None = None,
        retry_unknown: bool = False,
        lease: float = 30,
        **turn_options: Unpack[TurnOptions],
    ) -> Batch:
        """Ask a question for each of many rows, each once, whatever dies: see :class:`~toolhouse_async.Batch`.

        Nothing is read or sent before the first step. The same ``name`` in the same ``store`` goes on where it stopped:
        after a crash, and in any number of processes at once.

        Args:
            agent_id: The worker's id or URL.
            rows: Strings or mappings; an iterable or async iterable, pulled as there is room.
            store: Where it is written down what was sent and answered. The batch does not close it.
            name: The batch's name: any string.
            key: Makes of a row and its index a string by which the row is known again; default the index. Give it
                where rows may be added, taken away or moved between two starts.
            template: The message, as a pattern of ``str.format``: ``{city}`` is that field of a mapping, ``{}`` a row
                that is a string. Mappings need it; a string is its own message without it.
            concurrency: Rows under way at once.
            rate: Messages begun a second, evenly; ``None``: as there is room.
            retry_unknown: Whether a message is sent again where nobody knows if the service has accepted it.
            lease: Seconds after which others may take over a row whose process has stopped.
            **turn_options: See :class:`~toolhouse_async.TurnOptions`; for every row.

        Raises:
            ConfigurationError: An argument is wrong.
            ClosedError: The client is closed.
        """
        from ._batch.batch import Batch  # here, since few programs need it

        self._core.check_open()
        conversations = partial(self._conversation, self._agent_id(agent_id))
        return Batch(
            conversations, rows, store, name, key, template, concurrency, rate, retry_unknown, lease, turn_options
        )


def _prepared(observers: Iterable[Observer], base_url: str) -> tuple[Observers, ObservedRequests]:
    """What tells observers of turns and of requests; loaded here, since few programs have any."""
    from ._http.observed import ObservedRequests
    from ._observers import Observers

    told = Observers(observers)
    return told, ObservedRequests(told, base_url)


def _with_defaults(headers: dict[str, str]) -> dict[str, str]:
    """Headers with those that are sent in any case; names are the same in any case."""
    given = {name.lower() for name in headers}
    defaults = {"User-Agent": f"toolhouse-async/{__version__}", "Accept": "*/*"}
    return {name: value for name, value in defaults.items() if name.lower() not in given} | headers
