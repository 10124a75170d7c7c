"""What several turns have brought of one message: one that was left to its job, and those that wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from .._values.results import TurnResult

if TYPE_CHECKING:
    from .knowledge import Run


def brought(agent_id: str, run: Run) -> TurnResult | None:
    """What the turn of the message has brought whose job is waited for, where that is known and whole."""
    left = run.unfinished
    if left is None:
        return run.ended if isinstance(run.ended, TurnResult) and run.ended.status == "background" else None
    if left.is_uncertain or left.has_job:
        return None
    result = left.fold.result(agent_id, run.run_id, status="completed", token=None)
    return result if left.before is None else joined(left.before, result)


def joined(first: TurnResult, second: TurnResult) -> TurnResult:
    """What two turns have brought of one message."""
    return evolve(
        second,
        text=first.text + second.text,
        tool_calls=(*first.tool_calls, *second.tool_calls),
        jobs=(*first.jobs, *second.jobs),
        recovered=first.recovered + second.recovered,
        unknown=first.unknown + second.unknown,
        malformed=first.malformed + second.malformed,
        rounds=(*first.rounds, *second.rounds),
    )
