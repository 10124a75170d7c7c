"""What ``batch run`` says of rows without an answer, once all are over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from ..._batch.steps import was_accepted
from ...errors import NotFoundError, ToolhouseError
from ..terminal import in_options, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ... import BatchItem
    from ..._values.batches import BatchProgress

__all__ = ["ANEW", "NO_MESSAGE", "Without", "summary"]

_MOST_KINDS: Final = 1000
"""Reasons that are told apart to find the most frequent ones."""
_MOST_TOLD: Final = 3
"""Reasons that the summary has of each fate."""
NO_MESSAGE: Final = "sends no message again (a worker whose job is over is resumed)"
"""What is done to have the answer of a row whose message was accepted."""
ANEW: Final = "To send such rows anew, though the worker has had them, run a file of them alone with another --name."


def summary(
    progress: BatchProgress,
    failed: Without,
    unknown: Without,
    *,
    unread: int,
    reopened: int,
    retries_unknown: bool,
) -> Iterator[str]:
    """What is said of rows without the answer that was wanted, and how to ask them again."""
    if reopened:
        rows_are, them = ("1 row is", "it") if reopened == 1 else (f"{reopened:,} rows are", "them")
        yield (
            f"{rows_are} to be asked by now, as after 'batch retry', and written with the status 'open': the same "
            f"command goes on with {them}, and writes the file anew."
        )
    if unread:
        are = "answer is no JSON, and its row is" if unread == 1 else "answers are no JSON, and their rows are"
        yield f"{unread:,} {are} done: to ask again, run a file of such rows alone with another --name."
    yield from failed.told()
    accepted = failed.accepted
    if failed.not_found and failed.not_found == progress.failed and not progress.done:
        yield (
            "The service knows no such worker: correct --agent and give the batch another --name; where --base-url was "
            "wrong, 'batch retry' lets the next run ask again."
        )
    elif progress.failed > accepted:
        yield "'batch failed' lists the rows that failed; 'batch retry' lets the next run of this worker ask again."
    elif progress.failed:
        yield "'batch failed' lists the rows that failed."
    if accepted:
        was = "was accepted, and its answer was" if accepted == 1 else "were accepted, and their answers were"
        look = "it" if accepted == 1 else "them"
        yield (
            f"{accepted:,} of the {progress.failed:,} that failed {was} not to be had: 'batch retry' has {look} looked "
            f"for once more, and {NO_MESSAGE}. {ANEW}"
        )
    yield from unknown.told()
    if progress.unknown:
        again = "the next start with --retry-unknown asks them once more"
        if not retries_unknown:
            again = "--retry-unknown asks them again"
        yield f"Nobody knows whether the unknown ones were accepted; {again}."


@attrs.define
class Without:
    """The rows without an answer that have one fate, by reason.

    Attributes:
        fate: What they are, in words: ``"that failed"``.
        count: How many there are.
        accepted: How many of them have had their message accepted.
        not_found: How many the service has refused since it knows no such worker.
    """

    fate: str
    count: int = 0
    accepted: int = 0
    not_found: int = 0
    _by_reason: Counter[str] = attrs.field(factory=Counter, init=False)
    _from_store: Counter[str] = attrs.field(factory=Counter, init=False)

    def add(self, item: BatchItem) -> None:
        """Count a row; its reason as long as there are not too many to keep."""
        self.count += 1
        self.accepted += was_accepted(item.error)
        self.not_found += isinstance(item.error, NotFoundError) and item.error.safe_to_retry is True
        why = _why(item)
        if why in self._by_reason or len(self._by_reason) < _MOST_KINDS:
            self._by_reason[why] += 1
            self._from_store[why] += item.from_store

    def told(self) -> Iterator[str]:
        """The most frequent reasons, and how many rows have others."""
        rest = self.count
        for why, count in self._by_reason.most_common(_MOST_TOLD):
            rest -= count
            stored, origin = self._from_store[why], ""
            if stored:
                origin = f" ({stored:,} from the store: this start has not asked them)"
            if stored == count:
                origin = " (from the store: this start has not asked)"
            yield f"{count:,} of the {self.count:,} {self.fate}: {why}{origin}"
        if rest:
            yield f"{rest:,} of the {self.count:,} {self.fate}: for other reasons"


def _why(item: BatchItem) -> str:
    """Why a row has no answer; the same words for all that went alike, without the ids of their runs."""
    error = item.error
    said = in_options(str(error))
    run_id = error.run_id if isinstance(error, ToolhouseError) else None
    return one_line(f"{type(error).__name__}: {said.replace(run_id, '…') if run_id else said}", 300)
