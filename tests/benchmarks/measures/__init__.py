"""The measures by name."""

from __future__ import annotations

from . import batches, delays, events, growth, keys, lines, shapes, space, starting, turns, waiting
from .measure import Growth, Measure

MEASURES: dict[str, Measure] = {
    "burst-1": events.burst_1,
    "burst-20": events.burst_20,
    "shapes-1": shapes.one_per_chunk,
    "shapes-20": shapes.twenty_per_chunk,
    "live": events.live,
    "short-turn": events.short_turn,
    "turns-at-once": turns.at_once,
    "idle-turns": space.idle_turns,
    "long-turn": space.long_turn,
    "lines": lines.linear,
    "many-runs": waiting.many_runs,
    "one-run": waiting.one_run,
    "to-consumer": delays.to_consumer,
    "to-closed": delays.to_closed,
    "import": starting.importing,
    "client-start": starting.clients,
    "keys": keys.keyed,
    "batches": batches.batched,
}
ON_UVLOOP = ("burst-1", "burst-20", "shapes-1", "shapes-20", "live", "short-turn")
"""Measures that are taken on uvloop, too."""
CURVES: dict[str, Growth] = {
    "growth-rate": growth.rate,
    "growth-turns": growth.turns,
    "growth-waiters": growth.waiters,
    "growth-lines": growth.lines,
}
