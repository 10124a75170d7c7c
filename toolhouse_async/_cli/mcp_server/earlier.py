"""What a call learns of the message before its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from ...events import Event

if TYPE_CHECKING:
    from ... import TurnResult
    from ...errors import ToolhouseError

__all__ = ["Earlier", "Happening", "Looking"]


@frozen
class Looking:
    """It is about to be found out what became of the message before, which may take minutes."""


@frozen
class Earlier:
    """What became of the message before, of which that was not known.

    Attributes:
        result: Its answer, all rounds of it; ``None`` if it was not accepted, or if the answer cannot be had.
        error: Why the answer cannot be had of a message that was accepted.
    """

    result: TurnResult | None = None
    error: ToolhouseError | None = None


Happening: TypeAlias = Event | Looking | Earlier
"""All that happens in a call."""
