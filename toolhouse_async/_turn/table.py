"""The course of a turn as one table: states, what may happen in each, and where that leads.

The diagram in the documentation is made from :data:`TABLE`. A happening that the table does not have in a state is a
bug of this library: a ``KeyError`` that names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final


@unique
class State(StrEnum):
    """What a turn is doing; strings, since an enum's own hash is in Python and called at every look into the table."""

    CHECKING = "finding out about an earlier message"
    SENDING = "sending a message"
    STREAMING = "reading the answer"
    PROBING = "looking for the job behind a 409"
    WAITING = "waiting for a background job"
    SETTLING = "comparing with the history"
    HEALING = "healing a cut answer from the history"
    RESUMING = "finding out about a lost resume"
    FINDING = "finding out about a message"
    RECOVERING = "recovering a turn of another process"
    DONE = "done"


@unique
class Signal(StrEnum):
    """What happened."""

    UNCERTAIN = "nobody knows what became of an earlier message"
    ANSWERED = "2xx"
    LOST = "sent, no answer"
    REFUSED = "409"
    ENDED = "stream ended"
    DOUBTFUL = "stream ended, unproven"
    CUT = "stream cut"
    JOB = "job running"
    LEFT = "job running, detached"
    NO_JOB = "no job running"
    OVER = "job over"
    OVER_CUT = "job over, an answer was cut"
    OVER_LOST = "job over, a message is of unknown fate"
    OVER_UNSURE = "job over, a resume is of unknown fate"
    OVER_OTHERS = "job over, another process has sent the message"
    RESUMED = "this client has resumed the run"
    SAME = "history agrees"
    DIFFERS = "history differs"
    WAITS = "history agrees, the run waits to be resumed"
    HEALED = "healed"
    HEALED_RESUME = "healed, the run waits to be resumed"
    ARRIVED = "the message had arrived"
    ABSENT = "the message had not arrived"


TABLE: Final[Mapping[tuple[State, Signal], State]] = {
    (State.SENDING, Signal.UNCERTAIN): State.CHECKING,
    (State.CHECKING, Signal.ABSENT): State.SENDING,
    (State.SENDING, Signal.ANSWERED): State.STREAMING,
    (State.SENDING, Signal.REFUSED): State.PROBING,
    (State.SENDING, Signal.LOST): State.RESUMING,
    (State.SENDING, Signal.RESUMED): State.HEALING,
    (State.PROBING, Signal.JOB): State.WAITING,
    (State.PROBING, Signal.NO_JOB): State.SENDING,
    (State.STREAMING, Signal.JOB): State.WAITING,
    (State.STREAMING, Signal.LEFT): State.DONE,
    (State.STREAMING, Signal.DOUBTFUL): State.SETTLING,
    (State.STREAMING, Signal.ENDED): State.DONE,
    (State.STREAMING, Signal.CUT): State.HEALING,
    (State.SETTLING, Signal.JOB): State.WAITING,
    (State.SETTLING, Signal.LEFT): State.DONE,
    (State.SETTLING, Signal.SAME): State.DONE,
    (State.SETTLING, Signal.DIFFERS): State.HEALING,
    (State.SETTLING, Signal.WAITS): State.SENDING,
    (State.HEALING, Signal.JOB): State.WAITING,
    (State.HEALING, Signal.HEALED): State.DONE,
    (State.HEALING, Signal.HEALED_RESUME): State.SENDING,
    (State.RESUMING, Signal.JOB): State.WAITING,
    (State.RESUMING, Signal.ARRIVED): State.HEALING,
    (State.RESUMING, Signal.ABSENT): State.SENDING,
    (State.FINDING, Signal.JOB): State.WAITING,
    (State.FINDING, Signal.ARRIVED): State.HEALING,
    (State.FINDING, Signal.ABSENT): State.DONE,
    (State.FINDING, Signal.HEALED): State.DONE,
    (State.RECOVERING, Signal.JOB): State.WAITING,
    (State.RECOVERING, Signal.LEFT): State.DONE,
    (State.RECOVERING, Signal.HEALED): State.DONE,
    (State.RECOVERING, Signal.HEALED_RESUME): State.SENDING,
    (State.WAITING, Signal.OVER): State.SENDING,
    (State.WAITING, Signal.OVER_CUT): State.HEALING,
    (State.WAITING, Signal.OVER_LOST): State.FINDING,
    (State.WAITING, Signal.OVER_UNSURE): State.RESUMING,
    (State.WAITING, Signal.OVER_OTHERS): State.RECOVERING,
}
"""Where each happening leads. Errors are not in it: from any state they end the turn."""
