"""``toolhouse-async history`` and ``status``: one reading of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from ..jsonlines import document_line
from ..moments import since
from ..statuses import Status
from ..terminal import harmless, one_line
from .standing import MEANINGS, Next, next_of
from .transcript import as_json, as_markdown, as_text, last_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._client import AsyncToolhouse
    from ..._values.results import JobStatus, Message
    from .target import Target

__all__ = ["Form", "print_history", "print_status", "show_status"]

Form = Literal["text", "json", "markdown"]


async def print_history(toolhouse: AsyncToolhouse, target: Target, form: Form) -> int:
    """Print a conversation.

    Raises:
        ToolhouseError: It cannot be read.
        OutputError: Stdout cannot be written to.
    """
    async with toolhouse:
        history = await toolhouse.history(target.agent_id, target.run_id)
    if form == "json":
        sys.stdout.write(as_json(history))
    else:
        for piece in as_markdown(history) if form == "markdown" else as_text(history):
            sys.stdout.write(piece)
    return Status.DONE


async def print_status(toolhouse: AsyncToolhouse, target: Target, *, as_json: bool) -> int:
    """Print where a run stands.

    Returns:
        The exit status: 0, or 3 while a background job runs.

    Raises:
        ToolhouseError: It cannot be read.
        OutputError: Stdout cannot be written to.
    """
    async with toolhouse:
        status = await toolhouse.job_status(target.agent_id, target.run_id)
        history: Sequence[Message] | None = status.history
        if history is None:  # a running job's, which is skipped where it is long
            history = await toolhouse.history(target.agent_id, target.run_id)
    show_status(status, history, target, as_json=as_json)
    return Status.RUNNING if status.running else Status.DONE


def show_status(status: JobStatus, history: Sequence[Message], target: Target, *, as_json: bool) -> None:
    """Write to stdout what is known of a run."""
    found = next_of(history, running=status.running)
    token = target.token
    started = token.started if token is not None and token.job_id == status.job_id else None
    last = history[-1] if history else None
    if as_json:
        document: dict[str, Any] = {
            "agent_id": status.agent_id,
            "run_id": status.run_id,
            "running": status.running,
            "job_id": status.job_id,
            "started": started,
            "next": found,
            "messages": len(history),
            "last": None if last is None else {"role": last.role, "text": last.text},
        }
        sys.stdout.write(document_line(document))
        return
    lines = [f"run       {status.run_id} of worker {status.agent_id}"]
    if status.job_id is None:
        lines.append("job       none is running")
    else:
        lines.append(f"job       {one_line(status.job_id)} is running{since(started)}")
    lines.append(f"messages  {len(history)}")
    if last is not None:
        lines.append(f"last      {one_line(last.role, 40)}: {last_words(last)}")
    lines.append(f"next      {MEANINGS[found]}")
    if found in (Next.JOB, Next.RESUME):
        lines.append(f"          wait for it: {target.command('wait')}")
    sys.stdout.write("".join(f"{harmless(line)}\n" for line in lines))
