"""What batches come to: plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from .nested import short

if TYPE_CHECKING:
    from .results import TurnResult

__all__ = ["BatchItem", "BatchProgress"]


@frozen
class BatchItem:
    """What became of one row of a batch.

    Attributes:
        key: The row's key.
        row: The row, as it was given.
        status: ``"done"`` with a ``result``; ``"failed"`` with an ``error``; or ``"unknown"`` with an ``error`` where
            nobody knows whether the service has accepted the row's message.
        result: The turn's result.
        error: Why there is none. One from the store has a note that says so, and what asks again; a traceback shows it.
        from_store: Whether it stood in the store, as of an earlier start or another process: nothing was done for it
            here. Two objects that differ in this are equal.
    """

    key: str
    row: Any = field(repr=short)
    status: Literal["done", "failed", "unknown"]
    result: TurnResult | None = None
    error: Exception | None = None
    from_store: bool = field(default=False, eq=False)


@frozen
class BatchProgress:
    """How far a batch has come.

    Attributes:
        total: Its rows; ``None`` while that is not known, since rows are read lazily. From the store it is that of the
            latest start, and the counts may be more: they have the rows that were taken out of the input since, too.
        done: Rows that were answered.
        failed: Rows that failed.
        unknown: Rows of which nobody knows whether they were accepted.
        running: Rows under way, in other processes too.
        rate: Rows a second that this process has brought to an end lately: within a minute, or the last twenty if they
            took longer. ``None`` before one can tell, while only rows that other starts have are left, and where the
            store alone was asked. Two objects that differ in this are equal.
        seconds_left: How long the other rows take at this rate, and no less than the time for which none has come to
            its end; ``None`` while that or the total is not known. The same holds.
    """

    total: int | None
    done: int
    failed: int
    unknown: int
    running: int
    rate: float | None = field(default=None, eq=False)
    seconds_left: float | None = field(default=None, eq=False)
