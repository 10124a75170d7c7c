"""The embedded Workers API."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypeVar

from attrs import define

from .._wire.ids import check_agent_id
from ..errors import ConfigurationError
from ._context import Worker
from ._server import EmulatorServer, Serving
from ._state import EmulatorState, Registered

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["WorkersEmulator"]

W = TypeVar("W", bound=Worker)


@define(eq=False, kw_only=True)
class WorkersEmulator(EmulatorState):
    """A Workers API of your own.

    Its workers are async generator functions::

        emulator = WorkersEmulator()

        @emulator.worker("greeter")
        async def greeter(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
            yield ctx.text(f"Hello, {ctx.message}!")

        async with emulator.serve() as server:
            ...  # talk to server.url

    It answers as the documents of the Workers API say. What they leave open is a switch: an argument, and an
    attribute that may be changed at any time. Conversations belong to the emulator and outlive a server that
    stops.

    Attributes:
        api_key: The key that requests must carry; ``None`` lets everybody in.
        history_partial: Whether the history holds the words of an answer while it is being written, and keeps
            those of an answer that was never completed.
        history_empty_messages: Whether the history records an empty message.
        history_start_without_message: The words of the user entry that a start without a message leaves in
            the history; ``None`` leaves none.
        history_message: Makes of a user's message the ``content`` that the history has of it; ``str`` keeps
            it as it was sent. ``str.rstrip`` trims its end; a function of your own may have it in other line
            ends, as blocks, or shortened.
        history_message_at: When the history takes a user's message in: at the ``"start"`` of its answer, or
            with its ``"end"``, together with the answer. Nothing of the turn is shown before the end then, and
            ``history_partial`` only decides about an answer that was never completed.
        history_tools: Whether tool calls and their results are in the history.
        history_tool_role: In whose name results stand in the history, those of background jobs included: the
            ``"tool"``'s own, in the form of chat completions, or the ``"user"``'s, in the form of Anthropic's
            messages: a list of ``tool_result`` blocks, and calls as ``tool_use`` blocks.
        history_roles: Names under which the history has the roles ``user``, ``assistant`` and ``tool``, such as
            ``{"user": "human", "assistant": "ai"}``; a role that is not in it keeps its own.
        history_delay: Seconds by which an answer comes late to the history.
        history_lag: Seconds by which reads are behind: they show the whole history, messages included, as it
            was then. An answer that is being written is not shown.
        history_window: How many entries a read shows, the latest ones; ``None`` shows all.
        on_disconnect: Whether a worker goes on (``"continue"``) or is stopped (``"stop"``) when its client
            closes the stream.
        while_answering: Whether a PUT that comes while the run's last answer is still being written waits for
            its end (``"wait"``) or gets 409 (``"conflict"``).
        answer_framing: How the body of an answer to a POST or PUT is framed: ``"chunked"``, or by the
            connection's ``"close"`` alone, without a length. Such an end proves nothing: a fault that cuts in
            order (``cut="fin"``) looks the same.
        job_answer_body: Whether an answer with a job header has a body. If not, what the worker says in it
            stands in the history alone.
        job_poll_body: The body of a read while a job runs: the ``"history"``, an ``"empty"`` one, or a JSON
            ``"object"`` that is no history.
        job_header_lag: How many reads miss the job header after a job has started.
        conflict_lag: How many PUTs still get 409 after a job has ended.
        conflict_job_header: Whether the 409 while a job runs carries the job header.
        rotate_run_id: Whether every PUT gives the conversation a new id. An old one is good for reading only
            then.
        ndjson_object: The JSON value that stands for an event on an NDJSON stream; the documents give no
            schema.
        ndjson_end: A JSON value that ends every complete NDJSON stream; ``None`` ends it without one.
        keep_runs: How many conversations are kept; beyond it the oldest idle ones are forgotten.
        keep_requests: How many requests are kept in ``requests``; beyond it the oldest are forgotten.
        faults: What goes wrong, see ``Faults.add``.
    """

    def worker(self, agent_id: str, *, public: bool = False) -> Callable[[W], W]:
        """Register the decorated async generator function as the worker ``agent_id``, or replace it.

        It is called with a ``WorkerContext`` once for every POST and PUT. The answer's headers are held back
        until its first yield, so a ``background`` that comes first puts the job id on this very answer. If it
        raises, an NDJSON answer ends with an ``error`` line, the connection of a text answer is cut, and an
        answer that has not begun is a 500.

        Args:
            agent_id: 1 to 128 of ``A-Z a-z 0-9 _ -``.
            public: Whether it answers without a key where ``api_key`` is set.

        Raises:
            ConfigurationError: The id is none, or the function is not an async generator function.
        """
        check_agent_id(agent_id)

        def register(function: W) -> W:
            candidate: object = function
            if not inspect.isasyncgenfunction(candidate):
                raise ConfigurationError(
                    f"worker {agent_id} must be an async generator function (async def with yield)"
                )
            self.workers[agent_id] = Registered(function, public)
            return function

        return register

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> AbstractAsyncContextManager[EmulatorServer]:
        """Serve within an ``async with`` block, on the running event loop.

        At its end open streams are cut, workers and jobs are cancelled, and the port is closed. An emulator
        may be served more than once, also at the same time.

        Args:
            host: The address to listen on.
            port: The TCP port; 0 takes a free one, see ``EmulatorServer.url``.

        Returns:
            A context manager that gives the ``EmulatorServer``.

        Raises:
            OSError: On entering: the address cannot be used.
        """
        return Serving(self, host, port)
