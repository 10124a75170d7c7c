"""What a worker knows about the message it answers, and how it makes what it yields."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias
from uuid import uuid4

from attrs import define, field

from ..errors import ConfigurationError
from ..events import TextDelta, ToolCall, ToolResult
from ._events import BackgroundCall, WorkerEvent

__all__ = ["Worker", "WorkerContext"]


@define(kw_only=True)
class WorkerContext:
    """One call of a worker: a worker is called once for every POST and PUT.

    Attributes:
        agent_id: The id the worker was called by.
        run_id: The conversation.
        message: The message to answer; ``None`` if a POST had none.
        history: The entries of the conversation, this message included, as the history has them.
        job_result: What the background job that ended since the last call returned, or the text of its error;
            of several jobs the last one's; ``"null"`` where it returned ``None``, as in the history; ``None`` without
            one.
        job_failed: Whether that job ended by an error.
        body: The request's whole body; empty where it had none.
    """

    agent_id: str
    run_id: str
    message: str | None
    history: list[dict[str, Any]] = field(repr=False)
    job_result: Any = field(default=None, repr=False)
    job_failed: bool = False
    body: dict[str, Any] = field(factory=dict[str, Any], repr=False)

    @property
    def vars(self) -> dict[str, Any]:
        """The request's ``vars``; empty where it had none."""
        return self.body.get("vars") or {}

    @property
    def bundle(self) -> str | None:
        """The request's ``bundle``."""
        return self.body.get("bundle")

    @property
    def toolhouse_id(self) -> str | None:
        """The request's ``toolhouse_id``: the end user."""
        return self.body.get("toolhouse_id")

    def text(self, text: str) -> TextDelta:
        """A piece of the answer."""
        return TextDelta(text)

    def tool_call(self, name: str, arguments: Any = None) -> ToolCall:
        """A call of a tool, with an id of its own; ``arguments`` is any JSON value."""
        return ToolCall(f"call_{uuid4().hex}", name, arguments)

    def tool_result(self, call: ToolCall, content: Any = None, *, is_error: bool = False) -> ToolResult:
        """The answer of the tool to ``call``; ``content`` is any JSON value."""
        return ToolResult(call.id, call.name, content, is_error)

    def background(self, function: Callable[..., Any], *args: Any) -> BackgroundCall:
        """A background job: ``function(*args)`` really runs, from the moment that this is yielded.

        An async function runs on the emulator's event loop and is cancelled when the server stops; any other
        runs in a thread of its own, which cannot be stopped and is left behind then. Several jobs of one run
        are worked off one after another. What it returns is the next call's ``job_result``.

        Raises:
            ConfigurationError: It is no function, such as a coroutine.
        """
        if not callable(function):
            if inspect.iscoroutine(function):
                function.close()  # else Python warns that nobody awaited it
            raise ConfigurationError(
                "background() takes a function and its arguments, as in ctx.background(work, 5), "
                f"not {type(function).__name__}"
            )
        return BackgroundCall(function, args)


Worker: TypeAlias = Callable[[WorkerContext], AsyncIterator[WorkerEvent]]
"""An async generator function that answers messages."""
