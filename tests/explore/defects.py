"""Defects that an exploration must find: each makes the machine decide wrongly in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import pytest
from attrs import evolve

from toolhouse_async import NotSentError, ToolhouseError
from toolhouse_async._turn import comparison, healing, recovering
from toolhouse_async._turn.comparison import Verdict
from toolhouse_async._turn.fold import Fold
from toolhouse_async._turn.machine import TurnMachine
from toolhouse_async._turn.reading import Sight
from toolhouse_async._turn.search import Search
from toolhouse_async._turn.transcript import Transcript
from toolhouse_async._wire.stage import Stage

Defect: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def absent_at_once(patch: pytest.MonkeyPatch) -> None:
    """A message that is not seen at the first look is taken for absent."""
    patch.setattr(Search, "is_absent", property(lambda self: self.sight is Sight.ABSENT))


def absent_where_it_lags(patch: pytest.MonkeyPatch) -> None:
    """A history that does not show yet what came before is taken for all there is."""
    patch.setattr(Search, "is_absent", property(lambda self: self.sight in (Sight.ABSENT, Sight.LAGS)))


def heals_without_rest(patch: pytest.MonkeyPatch) -> None:
    """The first words that a history shows are taken for the whole answer."""
    patch.setattr(Search, "is_rested", property(lambda self: self.reply is not None))


def overlooks_a_job(patch: pytest.MonkeyPatch) -> None:
    """A search does not see that a job is running."""
    take = Search.take
    patch.setattr(Search, "take", lambda self, status, now: take(self, evolve(status, job_id=None), now))


def believes_any_end(patch: pytest.MonkeyPatch) -> None:
    """An end that proves nothing is believed."""
    ended = TurnMachine.ended
    patch.setattr(TurnMachine, "ended", lambda self, now, *, proven: ended(self, now, proven=True))


def takes_a_cut_for_an_end(patch: pytest.MonkeyPatch) -> None:
    """A cut answer is taken for whole."""
    patch.setattr(TurnMachine, "cut", lambda self, _, now, **__: self.ended(now, proven=True))


def sends_what_was_lost_again(patch: pytest.MonkeyPatch) -> None:
    """A resume after which nobody knows is sent again."""
    failed = TurnMachine.failed

    def blind(self: TurnMachine, error: ToolhouseError, now: float, draw: float, *, in_flight: bool) -> None:
        if in_flight and error.safe_to_retry is None and self.progress.behind is not None:
            error = NotSentError("so it thinks")
        failed(self, error, now, draw, in_flight=in_flight and error.safe_to_retry is None)

    patch.setattr(TurnMachine, "failed", blind)


def _says(answer: bool | None) -> Defect:
    def patched(patch: pytest.MonkeyPatch) -> None:
        stopped = TurnMachine.stopped

        def careless(self: TurnMachine, error: ToolhouseError, now: float, *, in_flight: bool) -> None:
            stopped(self, error, now, in_flight=in_flight)
            error.safe_to_retry = answer

        patch.setattr(TurnMachine, "stopped", careless)

    return patched


def never_takes_back(patch: pytest.MonkeyPatch) -> None:
    """What was refused counts as said."""
    patch.setattr(Transcript, "take_back", lambda self, said: None)


def forgets_what_it_heard(patch: pytest.MonkeyPatch) -> None:
    """What the worker has said is not noted."""
    patch.setattr(Transcript, "hear", lambda self, said, text, *, whole: None)


def takes_a_difference_for_the_same(patch: pytest.MonkeyPatch) -> None:
    """An answer that differs from the history is taken for whole."""
    patch.setattr(comparison, "_differing", lambda answer, reply, *, patient: Verdict.SAME)


def keeps_what_was_cut(patch: pytest.MonkeyPatch) -> None:
    """What was received stays, whatever the history has."""
    patch.setattr(Fold, "heal", lambda self, text: None)


def loses_the_token(patch: pytest.MonkeyPatch) -> None:
    """An error behind a job does not say how to go on with it."""
    stopped = TurnMachine.stopped

    def careless(self: TurnMachine, error: ToolhouseError, now: float, *, in_flight: bool) -> None:
        stopped(self, error, now, in_flight=in_flight)
        if hasattr(error, "token"):
            error.token = None

    patch.setattr(TurnMachine, "stopped", careless)


def reads_twice(patch: pytest.MonkeyPatch) -> None:
    """What comes last before a cut is read twice."""
    cut = TurnMachine.cut

    def twice(self: TurnMachine, why: str, now: float, **more: Any) -> None:
        self.received(b'{"type": "text", "text": "2.0>"}\n')
        cut(self, why, now, **more)

    patch.setattr(TurnMachine, "cut", twice)


def resumes_what_was_resumed(patch: pytest.MonkeyPatch) -> None:
    """A run that another process has left counts as waiting, whatever stands last in it."""
    patch.setattr(recovering, "_is_due", lambda turn, found, search, now: found.is_last)


def forgets_earlier_rounds(patch: pytest.MonkeyPatch) -> None:
    """Of a turn that another process began, what came before its last message is not looked up."""
    patch.setattr(healing, "_catch_up", lambda turn, status: None)


def takes_a_resume_for_accepted(patch: pytest.MonkeyPatch) -> None:
    """Whatever was sent counts as accepted where it is written down."""
    patch.setattr(Stage, "is_accepted", True)


DEFECTS: Final[Mapping[str, tuple[Defect, str, int, int]]] = {
    "absent at once": (absent_at_once, "second", 2, 1),
    "absent where it lags": (absent_where_it_lags, "second", 2, 1),
    "heals without rest": (heals_without_rest, "second", 2, 0),
    "overlooks a job": (overlooks_a_job, "second", 1, 1),
    "believes any end": (believes_any_end, "first", 1, 0),
    "takes a cut for an end": (takes_a_cut_for_an_end, "first", 1, 0),
    "sends what was lost again": (sends_what_was_lost_again, "first", 1, 1),
    "everything may be sent again": (_says(True), "second", 1, 0),
    "nothing may be sent again": (_says(False), "second", 1, 0),
    "nobody ever knows": (_says(None), "second", 1, 0),
    "never takes back": (never_takes_back, "second", 2, 0),
    "forgets what it heard": (forgets_what_it_heard, "second", 1, 1),
    "takes a difference for the same": (takes_a_difference_for_the_same, "settled", 2, 0),
    "keeps what was cut": (keeps_what_was_cut, "first", 1, 0),
    "loses the token": (loses_the_token, "second", 2, 1),
    "reads twice": (reads_twice, "second", 2, 0),
    "recovers without rest": (heals_without_rest, "recovered-elsewhere", 1, 0),
    "forgets earlier rounds": (forgets_earlier_rounds, "keyed-reconciled-elsewhere", 0, 1),
    "takes a resume for accepted": (takes_a_resume_for_accepted, "keyed-reconciled-elsewhere", 1, 1),
    "resumes what was resumed": (resumes_what_was_resumed, "last-recovered-elsewhere", 0, 1),
}
"""Defects, and the program, the faults and the jobs that show each."""
