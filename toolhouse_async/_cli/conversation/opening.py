"""``toolhouse-async chat``: how a conversation is begun, or gone on with."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..._client import BASE_URL
from ..terminal import make_console, warn
from .interrupting import Interrupts
from .lines import talk_by_lines
from .remembered import Memory, Remembered, state_folder

if TYPE_CHECKING:
    from ..._client import AsyncToolhouse

__all__ = ["talk"]


async def talk(
    toolhouse: AsyncToolhouse,
    agent_id: str,
    base_url: str | None,
    options: tuple[str, ...],
    *,
    run_id: str | None,
    new: bool,
) -> int:
    """Talk to a worker: on a terminal, or line by line where there is none.

    Args:
        toolhouse: The client.
        agent_id: The worker's id or URL.
        base_url: The service, for the last conversation with this worker there; ``None`` as for the client.
        options: What leads a command that goes on to the same service.
        run_id: The conversation to go on with; ``None`` is the last one.
        new: Begin a new conversation.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: An argument is wrong.
        OutputError: Stdout cannot be written to.

    Cancelling ends the turn under way.
    """
    folder = state_folder()
    service = (base_url or os.environ.get("TOOLHOUSE_BASE_URL") or BASE_URL).rstrip("/")
    async with toolhouse:
        agent_id = toolhouse.session(agent_id, run_id=run_id).agent_id
        memory = Memory(folder / "conversations", service, agent_id, warn)
        memory.load()
        if new or run_id not in (None, memory.now.run_id):
            memory.now = Remembered(run_id)
        if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
            async with toolhouse.session(agent_id, run_id=memory.now.run_id) as session:
                return await talk_by_lines(session, memory, options)
        from .chat import Chat
        from .prompt import Prompt  # here, since it imports what plain lines do not need

        with Interrupts() as interrupts:
            prompt = Prompt(folder / "typed", interrupts)
            return await Chat(toolhouse, agent_id, memory, prompt, make_console(), interrupts).talk()
