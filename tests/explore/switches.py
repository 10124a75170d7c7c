"""How a service may be: what its documents leave open."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen
class Switches:
    """How this service is; the same throughout a run.

    Attributes:
        stored: How messages are stored: as they are, without a trailing newline, or with LF for CRLF.
        window: How many of its last entries a history shows; 0 for all.
        tools: Whether tool calls and results stand in the history.
        empty: Whether empty messages do.
        tool_role: In whose name tool results stand.
        recorded: Whether a message is recorded at once, or only with the whole of its answer.
        spacing: Whether answers are stored with other white space than they were said.
        shape: What a round says that ends in a job.
    """

    stored: Literal["same", "trimmed", "lf"] = "same"
    window: int = 0
    tools: bool = True
    empty: bool = True
    tool_role: Literal["tool", "user"] = "tool"
    recorded: Literal["at-once", "at-end"] = "at-once"
    spacing: bool = False
    shape: Literal["words+call", "words", "call", "call+result", "silent"] = "words+call"

    @property
    def is_understood(self) -> bool:
        """Whether a client can tell from the history what was said."""
        return self.stored == "same" and not self.window
