"""What a store keeps of a conversation, as the machine has it written down, and what another process knows by that."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from toolhouse_async._turn import kept
from toolhouse_async._turn.commands import Note, Send
from toolhouse_async._turn.heard import Said
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.progress import Progress
from toolhouse_async._turn.transcript import Transcript
from toolhouse_async._wire.records import Record

from .clock import CLOCK


@define(eq=False)
class Kept:
    """What a store keeps of a conversation that has a key, as :mod:`toolhouse_async._keyed` writes it down.

    Attributes:
        record: That.
        said: What was sent last.
    """

    record: Record = field(factory=lambda: Record(said={}))
    said: Said | None = None

    def sending(self, run: Run, turn: Progress, todo: Send) -> None:
        """A message is about to be sent."""
        self.said = todo.said
        self._write(run, kept.sending(turn.words, resumes=todo.resumes))

    def note(self, run: Run, turn: Progress) -> None:
        """Write down what the turn has noted."""
        while turn.notes:
            match turn.notes.pop(0):
                case Note.ANSWERED:
                    self._write(run, kept.answered(self.record, turn.announced(CLOCK.now)))
                case Note.ARRIVED:
                    self._write(run, kept.answered(self.record, None))
                case Note.WAITING:
                    assert turn.token is not None
                    self._write(run, kept.waiting(self.record, turn.token, refused=turn.is_unsent))
                case Note.COMPLETED:
                    self._write(run, {"unsettled": None, "token": None})

    def leave(self, run: Run) -> None:
        """The key is let go."""
        self._write(run, {"unsettled": kept.left(run)})

    def _write(self, run: Run, fields: dict[str, Any]) -> None:
        is_open = fields.get("unsettled", self.record.unsettled) is not None
        standing = kept.standing(run, self.said if is_open else None)
        self.record = self.record._replace(**{**standing, **fields})

    def take_up(self) -> Run:
        """What another process knows by that."""
        token, run = self.record.token, Run(self.record.run_id, transcript=Transcript(None))
        run.is_nameless, run.job = self.record.nameless, token
        age = 0.0 if token is None else CLOCK.now - token.started
        kept.take_up(run, self.record, CLOCK.now, idle=0.0, job_age=age)
        return run
