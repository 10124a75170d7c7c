"""A conversation without a terminal: each line of stdin is a message, and answers are plain text."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click

from ... import events as ev
from ...errors import ConfigurationError, ToolhouseError
from ..runs.target import Target
from ..statuses import Status, status_of
from ..terminal import described, fail, one_line
from ..words import Words
from .fates import FORGONE, Fate, fate_of, status_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..._held import Turn
    from ..._session import Session
    from .remembered import Memory

__all__ = ["read_lines", "talk_by_lines"]

_PIECE: Final = 65536


async def talk_by_lines(session: Session, memory: Memory, options: tuple[str, ...]) -> int:
    """Send each line of stdin and print its answer; end at the first message that has none.

    ``options`` are those of a command that goes on, which stderr names then.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: An argument is wrong.
        OutputError: Stdout cannot be written to.
        click.UsageError: Stdin is not text.

    Cancelling ends the turn.
    """
    words = Words()
    if memory.now.message is not None:
        words.notice(f'the answer to the last message was not seen: "{one_line(memory.now.message)}"')
        _tell_how_to_look(session, options)
    async with aclosing(read_lines()) as lines:
        async for line in lines:
            memory.keep(message=line)
            status = await _send(session, line, words, memory, options)
            if status is not Status.DONE:
                return status
            memory.keep(message=None)
    return Status.DONE


async def _send(session: Session, line: str, words: Words, memory: Memory, options: tuple[str, ...]) -> Status:
    """Send one message and print its answer."""
    turn = session.stream(line)
    begun = False
    try:
        async with turn:
            async for event in turn:
                if isinstance(event, ev.TurnStarted):
                    begun = True
                    memory.keep(run_id=event.run_id)
                words(event)
        words.end_line()
    except ConfigurationError:
        raise
    except asyncio.CancelledError:
        words.end_line()
        if begun:
            _tell_way_on(session, turn, options)
        else:
            _tell_how_to_look(session, options)
        raise
    except ToolhouseError as error:
        words.end_line()
        fail(described(error))
        fate = fate_of(error)
        if fate in (Fate.NOT_ACCEPTED, Fate.OVER):
            memory.keep(message=None)
            return Status.FAILED
        if fate is not Fate.INCOMPLETE and session.run_id is not None:
            return await _look(session, words, memory, options)
        _tell_way_on(session, turn, options)
        return status_after(error)
    return Status.DONE


async def _look(session: Session, words: Words, memory: Memory, options: tuple[str, ...]) -> Status:
    """Find out what became of a message, and print its answer."""
    words.notice("looking in the history what became of it")
    try:
        found = await session.reconcile()
    except asyncio.CancelledError:
        _tell_how_to_look(session, options)
        raise
    except ToolhouseError as error:
        fail(described(error))
        _tell_how_to_look(session, options)
        return status_of(error)
    if found is None:
        memory.keep(message=None)
        fail("the message was not accepted; send it again")
        return Status.FAILED
    words(ev.TextDelta(found.text))
    words.end_line()
    return Status.DONE


def _tell_way_on(session: Session, turn: Turn, options: tuple[str, ...]) -> None:
    """Say which command brings the rest of an answer that was not seen to its end."""
    if session.run_id is None:
        _tell_how_to_look(session, options)
    else:
        target = Target(session.agent_id, session.run_id, options=options)
        print(target.way_on(job=turn.job_id is not None), file=sys.stderr, flush=True)


def _tell_how_to_look(session: Session, options: tuple[str, ...]) -> None:
    """Say how to look what became of a message, which nobody knows, and whether a job runs that it began."""
    way = FORGONE
    if session.run_id is not None:
        way = Target(session.agent_id, session.run_id, options=options).way_to_find_out("MESSAGE")
    print(way, file=sys.stderr, flush=True)


async def read_lines() -> AsyncGenerator[str]:
    """Read stdin line by line as it comes, without the newlines; blank ones are passed over.

    Raises:
        click.UsageError: It cannot be read, or is not UTF-8.
    """
    rest = b""
    async for piece in _pieces():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if text := _text(line):
                yield text
    if text := _text(rest):
        yield text


def _text(line: bytes) -> str:
    try:
        text = line.decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise click.UsageError("stdin is not UTF-8 text") from error
    return text if text.strip() else ""


async def _pieces() -> AsyncGenerator[bytes]:
    """What stdin has, as it comes, so that a signal need not wait for the next line."""
    if sys.stdin is None:
        return
    try:
        descriptor = sys.stdin.fileno()
    except io.UnsupportedOperation:  # no file of the system's
        yield sys.stdin.buffer.read()
        return
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except (OSError, NotImplementedError):  # a file, which is always ready; an event loop of Windows
        ready.set()
        watched = False
    else:
        watched = True
    try:
        while True:
            await ready.wait()
            if watched:
                ready.clear()
            try:
                piece = os.read(descriptor, _PIECE)
            except OSError as error:
                raise click.UsageError(f"stdin cannot be read: {error.strerror or error}") from error
            if not piece:
                return
            yield piece
    finally:
        if watched:
            loop.remove_reader(descriptor)
