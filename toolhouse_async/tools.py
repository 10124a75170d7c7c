"""Workers as tools of agent frameworks: plain async functions, which each framework takes as they are."""

import inspect
import keyword
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Protocol, TypeAlias, overload

from ._client import AsyncToolhouse
from ._log import in_own_words, log
from ._values.options import check_message, check_timeout
from ._values.results import TurnResult
from ._wire.ids import is_id
from ._wire.pauses import in_words
from .errors import (
    APIStatusError,
    AuthenticationError,
    ClosedError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    RedirectError,
    SessionBusyError,
    StoreError,
    TLSError,
    ToolhouseError,
    UncertainSessionError,
    WorkerError,
)
from .manager import SessionManager

# No ``from __future__ import annotations`` here: frameworks read the annotations of the functions made below, and some
# of them read ``__annotations__`` as it stands.

__all__ = ["ConversationTool", "Tool", "as_tool"]

Tool: TypeAlias = Callable[[str], Coroutine[Any, Any, str]]
"""What :func:`as_tool` makes: ``async def name(message: str) -> str``."""


class ConversationTool(Protocol):
    """What :func:`as_tool` makes with ``conversation=True``."""

    def __call__(self, message: str, conversation: str | None = None) -> Coroutine[Any, Any, str]:
        """Say ``message`` in a new conversation, or in the one that an earlier answer has named."""
        ...


_NAME_LENGTH: Final = 64
"""What the interfaces of models allow for a tool's name."""
_KEY_LENGTH: Final = 256
_NOT_GIVEN: Final = ("", "none", "null")
"""What models write where they mean that they give no conversation."""
_WORDS_SHOWN: Final = 20_000
"""Characters of what a worker had said before an error …"""
_REASON_SHOWN: Final = 500
"""… and of what it reported."""
_WRONG_USE: Final = (ConfigurationError, ClosedError, SessionBusyError)
"""What is a mistake of the program, and is raised in any case."""
_OF_OPERATORS: Final = (
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    RedirectError,
    TLSError,
)
"""What no other message of a model can mend."""
_REFUSED: Final = (400, 413, 422)
"""Statuses of a message that is wrong in itself: it is not understood, too long, or its content refused."""
_ARGS: Final = """

Args:
    message: What to say to the worker: one message with all that it needs to know."""
_CONVERSATION: Final = """
    conversation: The conversation to go on with, as the first line of an earlier answer names it; leave it out to begin
        a new one."""


@overload
def as_tool(
    source: AsyncToolhouse | SessionManager,
    agent_id: str,
    *,
    name: str,
    description: str,
    timeout: float | None = None,
    conversation: Literal[False] = False,
) -> Tool: ...
@overload
def as_tool(
    source: AsyncToolhouse | SessionManager,
    agent_id: str,
    *,
    name: str,
    description: str,
    timeout: float | None = None,
    conversation: Literal[True],
) -> ConversationTool: ...
@overload
def as_tool(
    source: AsyncToolhouse | SessionManager,
    agent_id: str,
    *,
    name: str,
    description: str,
    timeout: float | None = None,
    conversation: bool,
) -> Tool | ConversationTool: ...
def as_tool(
    source: AsyncToolhouse | SessionManager,
    agent_id: str,
    *,
    name: str,
    description: str,
    timeout: float | None = None,
    conversation: bool = False,
) -> Tool | ConversationTool:
    """Make an async function that sends a message to a worker and returns its answer, for an agent framework.

    The function is ``async def name(message: str) -> str``, with real annotations and a docstring that has an ``Args``
    section. A framework that takes functions as tools takes it without an adapter.

    Frameworks call a tool again after an exception, or end the run. So the function *returns* as text what a model can
    act on: an answer that did not come whole, a message that may have arrived and must not be sent again, a message
    that the worker refuses as it is (400, 413, 422), and a failure that may pass, such as 429; each is logged as a
    warning. It *raises* what only an operator can mend, if nothing was sent: a wrong key (401, 403), an unknown worker
    (404), a redirect, ``TLSError``, and a store that fails for good; and always ``ConfigurationError``, ``ClosedError``
    and ``SessionBusyError``. Cancelling it closes the turn and passes on.

    Args:
        source: A client, or a manager of keyed sessions with that worker. It must outlive the function.
        agent_id: The worker's id or URL.
        name: The tool's name: an identifier of up to 64 ASCII characters.
        description: What the worker does and when to ask it; models read it.
        timeout: Seconds for the whole turn, background jobs included; ``None``: no limit.
        conversation: Whether the function has a further parameter ``conversation: str | None = None``, and names the
            conversation in the first line of each answer: by its run id, or by its key where ``source`` is a manager.
            A new one has a random key. Without it each call is a conversation of its own; a manager forgets its key as
            soon as the answer is there, and keeps it where the turn failed, so that ``resume_pending()`` finds a job.

    Raises:
        ConfigurationError: An argument is wrong, or the manager is of another worker.
        ClosedError: ``source`` is closed.
    """
    if not isinstance(name, str) or not _is_name(name):
        raise ConfigurationError(
            f"name must be an identifier of up to {_NAME_LENGTH} ASCII characters, not {name!r:.80}"
        )
    if not isinstance(description, str) or not description.strip():
        raise ConfigurationError(f"description must be text that says what the worker does, not {description!r:.80}")
    if not isinstance(conversation, bool):
        raise ConfigurationError(f"conversation must be True or False, not {conversation!r:.80}")
    timeout = check_timeout(timeout)
    worker: _Worker
    if isinstance(source, SessionManager):
        worker = _KeyedWorker(source, agent_id, timeout, has_conversations=conversation)
    elif isinstance(source, AsyncToolhouse):
        worker = _Worker(source, agent_id, timeout, has_conversations=conversation)
    else:
        raise ConfigurationError(f"source must be an AsyncToolhouse or a SessionManager, not {type(source).__name__}")
    made: Any = _with_conversation(worker) if conversation else _without_conversation(worker)
    made.__name__ = made.__qualname__ = name
    made.__doc__ = inspect.cleandoc(description).rstrip() + _ARGS + (_CONVERSATION if conversation else "") + "\n"
    function: Tool | ConversationTool = made
    return function


def _is_name(name: str) -> bool:
    is_plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return is_plain and len(name) <= _NAME_LENGTH


def _without_conversation(worker: "_Worker") -> Tool:
    async def tool(message: str) -> str:
        return await worker.answer(message, None)

    return tool


def _with_conversation(worker: "_Worker") -> ConversationTool:
    async def tool(message: str, conversation: str | None = None) -> str:
        return await worker.answer(message, conversation)

    return tool


class _Worker:
    """A worker behind a client: a conversation is a run, and named by its id."""

    def __init__(
        self, toolhouse: AsyncToolhouse, agent_id: str, timeout: float | None, *, has_conversations: bool
    ) -> None:
        self._toolhouse = toolhouse
        self._agent_id = toolhouse.session(agent_id).agent_id
        self._timeout = timeout
        self._has_conversations = has_conversations

    async def answer(self, message: str | None, given: str | None) -> str:
        """Make the turn, and put its answer, or what a model should know of its failure, into words."""
        try:
            check_message(message)
        except ConfigurationError as error:
            return f"Error: nothing was sent. {error}."
        if isinstance(given, str) and given.strip().lower() in _NOT_GIVEN:
            given = None
        if given is not None and not self._is_conversation(given):
            return f"Error: nothing was sent. {_NO_CONVERSATION}"
        if message is None or (given is not None and not message.strip()):  # an empty message resumes a conversation
            return "Error: nothing was sent. Say in `message` what the worker is to do: it must not be empty."
        named = self._name(given)
        try:
            result = await self._send(message, named, is_new=given is None)
        except _WRONG_USE:
            raise
        except ToolhouseError as error:
            text = self._told(error, given, named)
            if text is None:
                raise
            log.warning("a tool of the worker %s returns a text in place of %s", self._agent_id, type(error).__name__)
            return text
        return self._head(named or result.run_id) + result.text

    def _told(self, error: ToolhouseError, given: str | None, named: str | None) -> str | None:
        """What a model is told in place of an error; ``None`` where the error is to be raised."""
        if error.safe_to_retry is not True:
            return self._head(named or error.run_id) + _unsafe(error)
        if isinstance(error, NotFoundError) and given is not None:
            return f"Error: nothing was sent. {_NO_CONVERSATION}"
        if isinstance(error, _OF_OPERATORS) or (isinstance(error, StoreError) and error.is_lasting):
            return None
        return self._head(given) + _safe(error)

    def _head(self, named: str | None) -> str:
        if not self._has_conversations:
            return ""
        return f"conversation: {named}\n" if named else "conversation: (not known; it cannot be continued)\n"

    def _is_conversation(self, given: object) -> bool:
        return is_id(given)

    def _name(self, given: str | None) -> str | None:
        """What the conversation is called before its turn begins."""
        return given

    async def _send(self, message: str, named: str | None, *, is_new: bool) -> TurnResult:
        async with self._toolhouse.session(self._agent_id, run_id=named) as session:
            return await session.send(message, timeout=self._timeout)


class _KeyedWorker(_Worker):
    """A worker behind a manager: a conversation is named by its key."""

    def __init__(
        self, manager: SessionManager, agent_id: str, timeout: float | None, *, has_conversations: bool
    ) -> None:
        toolhouse = manager._toolhouse  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        super().__init__(toolhouse, agent_id, timeout, has_conversations=has_conversations)
        managed = manager._agent_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if self._agent_id != managed:
            raise ConfigurationError(f"the manager is of the worker {managed}, not of {self._agent_id}")
        self._manager = manager

    def _is_conversation(self, given: object) -> bool:
        return isinstance(given, str) and given.isprintable() and len(given) <= _KEY_LENGTH

    def _name(self, given: str | None) -> str | None:
        return secrets.token_hex(16) if given is None else given

    async def _send(self, message: str, named: str | None, *, is_new: bool) -> TurnResult:
        key = named or ""
        result = await self._manager.send(key, message, timeout=self._timeout)
        if not self._has_conversations:
            try:
                await self._manager.forget(key)
            except ToolhouseError as error:  # the answer is here, and counts for more
                log.warning("the key %s of a tool's call could not be forgotten: %s", key, in_own_words(error))
        return result


_NO_CONVERSATION: Final = (
    "There is no such conversation. Give exactly what the first line of an earlier answer names, "
    "or leave `conversation` out to begin a new one."
)


def _safe(error: ToolhouseError) -> str:
    """What a model should know where the worker does not have the message."""
    if isinstance(error, UncertainSessionError):
        return (
            "Error: this message was not sent, since nobody knows whether an earlier message of this conversation "
            "has reached the worker. Do not send the earlier one again. Leave `conversation` out to begin a new one."
        )
    if isinstance(error, APIStatusError) and error.status in _REFUSED:
        return (
            f"Error: the worker has refused this message as it is ({_kind(error)}), and does not have it. "
            "Another message may be taken; the same one will be refused again."
        )
    text = f"Error: the worker does not have the message ({_kind(error)}). It may be sent again"
    after = error.retry_after if isinstance(error, APIStatusError) else None
    if after is not None:
        return f"{text} in {in_words(after)}."
    return f"{text}: once more now, or else later."


def _unsafe(error: ToolhouseError) -> str:
    """What a model should know where the worker has the message, or may have it."""
    if error.safe_to_retry is False:
        said = "The message has reached the worker. Do not send it again: the worker would have it twice."
    else:
        said = "The message may have reached the worker. Do not send it again: the worker could have it twice."
    parts = [f"Error: the answer is not complete ({_kind(error)}).", said]
    partial: TurnResult | None = getattr(error, "partial", None)
    run_id = error.run_id or (partial.run_id if partial else None)
    if run_id:
        parts.append(f"The run is {run_id}.")
    token = error.token or (partial.token if partial else None)
    if token is not None:
        parts.append("A background job of it is still running, as far as is known; its answer will stand in that run.")
        parts.append(f"Its token, for the program: {token.to_json()}")
    if isinstance(error, WorkerError) and str(error):
        parts.append(f"The worker reported: {str(error)[:_REASON_SHOWN]}")
    text = " ".join(parts)
    if partial is not None and partial.text:
        cut = " (the rest is left out)" if len(partial.text) > _WORDS_SHOWN else ""
        text += f"\nThe worker had said so far{cut}:\n{partial.text[:_WORDS_SHOWN]}"
    return text


def _kind(error: ToolhouseError) -> str:
    """What is safe to show: an error's message may quote what a server or a proxy said."""
    name = type(error).__name__
    return f"{name}, HTTP status {error.status}" if isinstance(error, APIStatusError) else name
