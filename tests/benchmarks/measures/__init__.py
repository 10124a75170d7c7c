"""The measures by name."""

from __future__ import annotations

from . import events
from .measure import Measure

MEASURES: dict[str, Measure] = {
    "burst-1": events.burst_1,
    "burst-20": events.burst_20,
    "live": events.live,
    "short-turn": events.short_turn,
}
