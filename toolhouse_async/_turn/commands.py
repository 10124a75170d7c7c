"""What a turn wants done next.

A driver does what the turn's ``todo`` says, tells the turn what came of it, and looks again:

==========  =========================================  ===============================================
command     what the driver does                       what it tells the turn
==========  =========================================  ===============================================
``Enter``   waits for the turns before it on this run  ``entered``
``Send``    sends a message, not before its time       ``answered``, ``refused``, ``failed``, ``joined``
``Read``    reads more of the answer                   ``received``, ``ended``, ``cut``
``Look``    reads the run once, not before its time    ``looked``, ``blind``
``Poll``    awaits the next poll of the run            ``polled``, ``joined``
``Over``    nothing                                    nothing
==========  =========================================  ===============================================
"""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from .._values.results import TurnResult
    from ..errors import ToolhouseError
    from .heard import Said


class Enter(NamedTuple):
    """Wait until this turn is the first of those on its run."""


class Send(NamedTuple):
    """Send a message.

    Attributes:
        at: The time before which it is not sent; 0 for at once.
        said: The message's place in what was said on the run.
        fields: The body.
        run_id: The run to continue; ``None`` starts one.
        resumes: Whether it is the resume after a job, and not the user's message.
    """

    at: float
    said: Said
    fields: dict[str, Any]
    run_id: str | None
    resumes: bool


class Read(NamedTuple):
    """Read more of the answer."""


class Look(NamedTuple):
    """Read the run once.

    Attributes:
        at: The time before which it is not read.
    """

    at: float


class Poll(NamedTuple):
    """Wait for the next poll of the run, which all who wait for its job share.

    Attributes:
        until: The time at which a poll is wanted in any case; ``None`` where the cadence alone decides.
    """

    until: float | None


class Over(NamedTuple):
    """The turn is over.

    Attributes:
        result: What it came to; ``None`` if it failed, or if the message that it looked for had not arrived.
        error: Why it failed, if it did.
    """

    result: TurnResult | None = None
    error: ToolhouseError | None = None


Command: TypeAlias = Enter | Send | Read | Look | Poll | Over

ENTER: Final = Enter()
READ: Final = Read()


@unique
class Note(Enum):
    """What a journal is to write down before the turn goes on."""

    ANSWERED = "a message was accepted"
    ARRIVED = "the history shows that a message was accepted"
    WAITING = "a background job is running"
    COMPLETED = "the turn is over, and nothing is left open"
