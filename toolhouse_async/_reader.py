"""What reads an answer for a turn: it tells the turn the bytes, and does not wait for them for ever."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ._core import Core
from ._http.port import Answer, Cut
from ._log import in_own_words, log
from ._run.participant import Participant
from ._turn.knowledge import Head
from ._turn.machine import TurnMachine
from ._turn.table import State
from ._wire.answers import Headers, job_id_of, run_id_of
from .errors import ProtocolError


class Reader:
    """Reads the answers to a turn's messages, one after the other.

    Attributes:
        answer: The latest answer; ``None`` before the first.
    """

    answer: Answer | None = None
    _is_open: bool = False
    _is_silent: bool = False
    """Whether the answer was ended for its silence."""
    _malformed: int = 0

    def __init__(self, core: Core, machine: TurnMachine, participant: Participant) -> None:
        self._core = core
        self._machine = machine
        self._turn = machine.progress
        self._participant = participant

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer."""
        return Headers() if self.answer is None else self.answer.headers

    def begin(self, answer: Answer) -> None:
        """Take up an answer, and tell the turn what its headers say."""
        self.answer = answer
        self._is_silent, self._is_open = False, True
        now, limit = self._core.time(), answer.idle
        if limit is not None:
            self._core.watch.at(self, now + limit, self._limit_silence)
        self._tell_head(answer, now)

    def _tell_head(self, head: Head, now: float) -> None:
        run = self._turn.run
        before = run.run_id
        self._machine.answered(head, now)
        if run.run_id is not None and run.run_id != before:
            self._participant.name_run(run.run_id)

    def take_late_head(self) -> None:
        """Tell the turn of a good answer that came in the very moment that its sender was cancelled."""
        dispatch = self._participant.dispatch
        if dispatch.head is not None:
            with suppress(ProtocolError):  # a name that is none cannot be kept
                self._tell_head(LateHead(run_id_of(dispatch.head), job_id_of(dispatch.head)), self._core.time())
                dispatch.in_flight = False

    async def read(self) -> None:
        """Read more of the answer, and tell the turn what came or how it ended."""
        answer = self.answer
        assert answer is not None  # noqa: S101 - the turn has been told of it
        try:
            data = await answer.read()
        except Cut as cut:
            self._end(answer)
            self._machine.cut(str(cut), self._core.time(), is_idle=self._is_silent)
        else:
            if data:
                self._machine.received(data)
                if not answer.at_end:
                    return
            self._end(answer)
            self._machine.ended(self._core.time(), proven=answer.framed)

    def _end(self, answer: Answer) -> None:
        if answer.job_id is not None:
            self._turn.drift = self._core.drift()  # for a token
        self.warn()
        self.close()
        self._participant.done_sending()

    def take_rest(self) -> None:
        """Tell the turn what was received of the answer and not read yet."""
        if self.answer is None or self._turn.state is not State.STREAMING:
            return
        try:
            self._machine.received_last(self.answer.rest())
        except ProtocolError as error:
            log.info("run %s: the rest was not read: %s", self._turn.run.run_id, in_own_words(error))

    def warn(self) -> None:
        """Log how many lines could not be read as JSON since this was last done."""
        malformed = self._turn.fold.malformed
        if malformed != self._malformed:
            new, run_id = malformed - self._malformed, self._turn.run.run_id
            log.warning("run %s: %d lines could not be read as JSON", run_id, new)
            self._malformed = malformed

    def _limit_silence(self) -> None:
        """See to it that a silent answer is cut; the limit is moved on when it is reached, if bytes have come."""
        answer = self.answer
        assert answer is not None and answer.idle is not None  # noqa: S101, PT018 - they set the limit
        limit = answer.idle
        now, since = self._core.time(), answer.waiting_since
        if since is not None and now - since >= limit - 1e-6:  # a timer may be early by a rounding
            self._is_silent = True
            answer.fail(f"nothing was received for {limit:g} s (Timeouts.idle)")
        else:
            self._core.watch.at(self, (now if since is None else since) + limit, self._limit_silence)

    def close(self) -> None:
        """Let the answer go. Idempotent."""
        if self._is_open and self.answer is not None:
            self._is_open = False
            self.answer.close()
            self._core.watch.drop(self)


class LateHead:
    """What an answer said whose reader was cancelled in the very moment that it came; nothing more of it was read."""

    __slots__ = ("job_id", "run_id")

    def __init__(self, run_id: str | None, job_id: str | None) -> None:
        self.run_id: str | None = run_id
        self.job_id: str | None = job_id

    def redact(self, text: str) -> str:
        """Return the text: nobody has the key that the answer might repeat."""
        return text
