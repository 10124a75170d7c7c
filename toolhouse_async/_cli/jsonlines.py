"""Events as lines of JSON that a terminal may show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._eventjson import event_json
from .terminal import HARMFUL

if TYPE_CHECKING:
    from ..events import Event

__all__ = ["event_line"]


def event_line(event: Event) -> str:
    """Write an event as a line of JSON; what a terminal would obey is written as JSON's own escapes."""
    return HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", event_json(event).decode()) + "\n"
