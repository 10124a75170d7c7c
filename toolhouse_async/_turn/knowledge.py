"""What outlasts a turn: what a client knows of a run, and of how its service keeps histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field

from .._wire.stage import Stage
from .transcript import Transcript

if TYPE_CHECKING:
    from .._values.options import Options
    from .._values.results import JobToken, TurnResult
    from .._values.settings import PollingPolicy, RecoveryPolicy
    from .._wire.decode import EventDecoder
    from ..errors import WorkerError
    from .fold import Fold
    from .heard import Said
    from .others import Others


@define(eq=False, repr=False)
class Rules:
    """What all turns of a client go by.

    Attributes:
        polling: How jobs are waited for.
        recovery: How histories are read.
        decoder: Decodes lines.
        max_line: Bytes that a line may have.
        shows_messages_early: Whether the service was seen to show a message before its answer was complete.
    """

    polling: PollingPolicy
    recovery: RecoveryPolicy
    decoder: EventDecoder
    max_line: int
    shows_messages_early: bool = False


class Head(Protocol):
    """What a good answer says before its body."""

    @property
    def run_id(self) -> str | None:
        """The conversation, if it is named."""
        ...

    @property
    def job_id(self) -> str | None:
        """The job that is running, if one is named."""
        ...

    def redact(self, text: str) -> str:
        """Black the key out of what the answer said."""
        ...


@define(eq=False, repr=False)
class Unfinished:
    """The latest turn of a run, where it has brought no result: enough to go on with it.

    Attributes:
        stage: How far it has come.
        said: What it said last.
        words: The same.
        since: The time at which the fate of that became unknown.
        fold: What it has received.
        options: Its options.
        head: What the latest answer said before its body.
        round: Resumes that were accepted.
        has_job: Whether a job is known to follow the answer that was being read.
        job: The id of the job that was being waited for, or after which the run is resumed, and its start.
        bars: Whether nothing more is sent before it is settled: so where the library said that nobody knows, not where
            the user gave it up (cancelled, closed, timed out) or was told of a refusal (5xx).
        told: Whether anybody was told; not where the turn was closed, or the process died that was sending it.
        before: What another turn has brought of the same message, which was left to its job.
        missed: What was said before a job that was over before anybody looked, after which the run is to be resumed.
        others: What to look for in the history, where another process has heard what the turn has brought so far.
    """

    stage: Stage
    said: Said
    words: str | None
    since: float
    fold: Fold
    options: Options
    head: Head | None = None
    round: int = 0
    has_job: bool = False
    job: tuple[str | None, float] | None = None
    bars: bool = False
    told: bool = True
    before: TurnResult | None = None
    missed: Said | None = None
    others: Others | None = None

    @property
    def is_uncertain(self) -> bool:
        """Whether nobody knows if the user's message was accepted."""
        return self.stage is Stage.MESSAGE

    def resumed(self) -> None:
        """Another turn has resumed the run behind its job: that answer goes on from the one that is to be healed."""
        self.stage, self.has_job, self.job = Stage.ANSWER, False, None


NEVER: Final = float("-inf")


@define(eq=False, repr=False)
class Run:
    """What a client knows of one run; all its sessions on the run share it.

    Attributes:
        run_id: The latest header's value; ``None`` before the first answer.
        is_nameless: Whether it was begun by an answer without a run id, so that it cannot be continued.
        begun: The time at which this client started the run; ``None`` if it did not.
        transcript: What was said and heard on it.
        unfinished: Its latest turn, where that has brought no result.
        ended: What its latest turn came to: its result, or the worker's error.
        job: The job that a turn left running, if one did.
        resumed: What this client has resumed the run after, and that resume: a job, by its id, or where none was seen,
            what was said before.
    """

    run_id: str | None = None
    is_nameless: bool = False
    begun: float | None = None
    transcript: Transcript = field(factory=Transcript)
    unfinished: Unfinished | None = None
    ended: TurnResult | WorkerError | None = None
    job: JobToken | None = None
    resumed: dict[str | Said, Said] = field(factory=dict)

    @classmethod
    def of_others(cls, run_id: str) -> Run:
        """A run of which nobody here knows what was said on it."""
        return cls(run_id, transcript=Transcript(None))

    @property
    def has_begun(self) -> bool:
        """Whether the service has answered a message of this conversation, or had before."""
        return self.run_id is not None or self.is_nameless
