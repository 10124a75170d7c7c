"""Conversations with workers: one message after the other, each with a settled past."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from attrs import define, field

from ... import events as ev
from ...errors import (
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    ToolhouseError,
    UncertainSessionError,
    WorkerError,
)
from .earlier import Earlier, Looking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ... import AsyncToolhouse, Message, Session
    from .earlier import Happening

__all__ = ["REMEMBERED", "Conversations"]

REMEMBERED: Final = 100
"""Conversations that are kept; of others it is not known what became of their last message."""


@define(eq=False)
class _Conversation:
    """A conversation, and whether its past is settled.

    Attributes:
        session: The client's.
        is_open: Whether it is not known what became of the last message, or its answer was not brought.
        is_barred: Whether the session sends nothing before that is known: not where the caller gave the message up.
        is_strange: Whether somebody else has begun it, and it was not read yet.
        lock: Held by the call that is talking; calls are served in their order.
    """

    session: Session
    is_open: bool = False
    is_barred: bool = False
    is_strange: bool = False
    lock: asyncio.Lock = field(factory=asyncio.Lock)


class Conversations:
    """The conversations of one client, by their workers and ids.

    Those that were used last are kept, since a session knows what is uncertain; the service has all of them.

    Args:
        toolhouse: The client.
        most: How many are kept, apart from those that calls are talking on.
    """

    def __init__(self, toolhouse: AsyncToolhouse, most: int = REMEMBERED) -> None:
        self._toolhouse = toolhouse
        self._most = most
        self._known: OrderedDict[tuple[str, str], _Conversation] = OrderedDict()

    async def talk(self, agent_id: str, message: str, run_id: str | None) -> AsyncGenerator[Happening]:
        """Send a message, once it is known what became of the one before it.

        Args:
            agent_id: The worker's id or URL.
            message: What to say. One without words to a conversation is not sent: it asks for the latest answer.
            run_id: The conversation to go on with; ``None`` begins one.

        Yields:
            First, if that was not known, that it is looked for what became of the message before, and what did; then
            the events of the turn, of which the last is ``TurnCompleted``.

        Raises:
            ConfigurationError: ``run_id`` is none.
            UncertainSessionError: Nobody can know what became of the message before; this one was not sent.
            ToolhouseError: The turn failed. Where it did before the message was sent, ``safe_to_retry`` is ``True``.

        Cancelling ends the turn; the next message waits until it is known what became of this one.
        """
        conversation = self._conversation(agent_id, run_id)
        is_question = run_id is not None and not message.strip()
        async with conversation.lock:
            if conversation.is_open:
                yield Looking()
                yield await self._settle(conversation)
                if is_question:
                    return
            elif is_question:
                yield Looking()
                yield await self._latest(conversation, agent_id)
                return
            elif conversation.is_strange:
                await self._read(conversation, agent_id)
            async with aclosing(self._send(conversation, agent_id, message)) as turn:
                async for event in turn:
                    yield event

    async def _settle(self, conversation: _Conversation) -> Earlier:
        """Find out what became of the last message, and bring its answer."""
        try:
            result = await conversation.session.reconcile()
        except ToolhouseError as error:
            if error.safe_to_retry is False:
                conversation.is_open = not isinstance(error, WorkerError)
                return Earlier(error=error)
            conversation.is_open = conversation.is_barred
            raise UncertainSessionError(
                f"nobody can know yet whether an earlier message was accepted ({type(error).__name__}: {error})",
                run_id=conversation.session.run_id,
            ) from error
        conversation.is_open = False
        return Earlier(result)

    async def _latest(self, conversation: _Conversation, agent_id: str) -> Earlier:
        """Bring the latest answer of a conversation of which nothing is known to be open."""
        session, history = conversation.session, await self._read(conversation, agent_id)
        try:
            result = await session.reconcile()
            if result is None:  # this server has not heard it
                has_words = any(entry.role == "user" and entry.text for entry in history)
                result = await session.recover(None if has_words else "")
        except ToolhouseError as error:
            if error.safe_to_retry is False:
                return Earlier(error=error)
            raise
        return Earlier(result)

    async def _read(self, conversation: _Conversation, agent_id: str) -> list[Message]:
        """Read what others have said, so that it can be told from what is said now."""
        try:
            history = await conversation.session.history()
        except ToolhouseError as error:
            error.safe_to_retry = True  # it speaks of the message, and that was not sent
            if isinstance(error, NotFoundError):
                self._known.pop((agent_id, conversation.session.run_id or ""), None)
            raise
        conversation.is_strange = False
        return history

    async def _send(self, conversation: _Conversation, agent_id: str, message: str) -> AsyncGenerator[ev.Event]:
        session = conversation.session
        turn = session.stream(message)
        conversation.is_open, conversation.is_barred = True, False  # so it stays where this is cancelled
        try:
            async with turn:
                async for event in turn:
                    if isinstance(event, ev.TurnStarted):
                        self._keep(agent_id, conversation)
                    elif isinstance(event, ev.TurnCompleted):
                        conversation.is_open = False
                    yield event
        except ToolhouseError as error:
            is_past = error.safe_to_retry is True and not isinstance(error, UncertainSessionError)
            conversation.is_open = not is_past and not isinstance(error, WorkerError)
            conversation.is_barred = isinstance(error, OutcomeUnknownError | ProtocolError)
            raise
        finally:
            self._keep(agent_id, conversation)

    def _conversation(self, agent_id: str, run_id: str | None) -> _Conversation:
        if run_id is None:
            return _Conversation(self._toolhouse.session(agent_id))
        known = self._known.get((agent_id, run_id))
        if known is None:
            known = _Conversation(self._toolhouse.session(agent_id, run_id=run_id), is_strange=True)
            self._keep(agent_id, known)
        return known

    def _keep(self, agent_id: str, conversation: _Conversation) -> None:
        """Keep a conversation by its id, which may have changed, in place of what was not used longest."""
        run_id = conversation.session.run_id
        if run_id is None:
            return
        self._known[agent_id, run_id] = conversation
        self._known.move_to_end((agent_id, run_id))
        for key, other in list(self._known.items()):
            if len(self._known) <= self._most:
                break
            if other is not conversation and not other.lock.locked():
                del self._known[key]
