"""Times as people read them."""

from __future__ import annotations

import time

__all__ = ["ago", "since"]


def since(started: float | None) -> str:
    """When a job began, for people; nothing where that is not known."""
    if started is None:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(started))
    return f" since {when} ({ago(time.time() - started)})"


def ago(seconds: float) -> str:
    """A time in its two largest units."""
    whole = max(0, int(seconds))
    for size, unit, small_size, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
