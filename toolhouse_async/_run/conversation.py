"""One conversation as one session sees it: its ids, and what goes with its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from .._core import Core, Live
from .._turn.commands import Note
from .._turn.heard import Said
from .._turn.knowledge import Run
from .._turn.machine import TurnMachine
from .._turn.progress import Progress, nameless
from .._turn.table import State
from .._values.options import Options, check_json
from .._values.results import JobStatus, JobToken, Message
from .._values.settings import PollingPolicy
from .._wire.ids import check_id
from ..errors import ClosedError, ConfigurationError, ToolhouseError
from .queue import Visitor
from .shared import SharedRun


class Extras:
    """What goes with every message of the user's, never with an automatic resume.

    Attributes:
        fields: Makes fields of the body of those that are set.
    """

    __slots__ = ("fields",)

    def __init__(
        self,
        toolhouse_id: str | None = None,
        vars: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own word
        bundle: str | None = None,
    ) -> None:
        for name, value in (("toolhouse_id", toolhouse_id), ("bundle", bundle)):
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"{name} must be a string, not {value!r:.80}")
        if vars is not None and not isinstance(vars, Mapping):
            raise ConfigurationError(f"vars must be a mapping, not {vars!r:.80}")
        fields = {"toolhouse_id": toolhouse_id, "vars": vars, "bundle": bundle}
        given = {name: value for name, value in fields.items() if value is not None}
        for name, field in given.items():
            check_json(name, field)
        self.fields: Callable[[], dict[str, Any]] = partial(_written, given) if given else dict


def _written(given: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in given.items()}


NO_EXTRAS: Final = Extras()


class Journal(Protocol):
    """Who writes down where a conversation stands, so that another process can go on with it.

    What it awaits holds up the turn; what it raises ends the turn.
    """

    async def sending(self, said: Said, words: str | None, *, resumes: bool) -> None:
        """A message is about to be sent, the user's or a resume."""
        ...

    async def answered(self, token: JobToken | None) -> None:
        """The service has accepted a message or a resume; the conversation's run id is known.

        Args:
            token: The job that the answer tells of before its body, if it does.
        """
        ...

    def blind(self, error: ToolhouseError) -> None:
        """The history could not be read; it is asked for again."""
        ...

    def arrived(self) -> None:
        """The history shows that the service has accepted a message or a resume."""
        ...

    async def waiting(self, token: JobToken, *, refused: bool) -> None:
        """A background job is running; ``refused`` if a message of the user's was refused for it."""
        ...

    def completed(self) -> None:
        """The turn has come to its end, and nothing is left open."""
        ...

    def begin_anew(self) -> bool:
        """The service does not know the run: forget it if that is wanted, and say whether it was."""
        ...


class Access(Protocol):
    """What a turn must have before it begins, and lets go at its end: a key."""

    async def enter(self, owner: Callable[[], asyncio.Task[object] | None]) -> object:
        """Wait for it; the conversation is known afterwards."""
        ...

    def leave(self) -> None:
        """Begin to let it go."""
        ...

    async def left(self) -> ToolhouseError | None:
        """Wait until it is let go; why that failed, if it did."""
        ...


class Conversation:
    """The worker and the run of a session, and what goes with its messages.

    Attributes:
        agent_id: The worker.
        shared: What all sessions on the run share.
        open_turns: Turns that have begun and are not over.
        journal: Who writes down where it stands, if anybody does.
    """

    __slots__ = ("_closed", "agent_id", "core", "extras", "journal", "open_turns", "shared")

    def __init__(self, core: Core, agent_id: str, run_id: str | None, extras: Extras) -> None:
        self.core: Core = core
        self.agent_id: str = agent_id
        self.extras: Extras = extras
        self.open_turns: set[Live] = set()
        self.journal: Journal | None = None
        self._closed = False
        if run_id is None:
            self.shared: SharedRun = SharedRun(Run())
        else:
            self.shared = core.run_of(agent_id, check_id(run_id, "run id"))

    @property
    def run(self) -> Run:
        """What is known of the run."""
        return self.shared.known

    @property
    def run_id(self) -> str | None:
        """The latest header's value; ``None`` before the first answer."""
        return self.shared.known.run_id

    def turn(
        self,
        options: Options,
        *,
        message: str | None = None,
        state: State = State.SENDING,
        polling: PollingPolicy | None = None,
    ) -> TurnMachine:
        """Prepare a turn; see :class:`Progress`."""
        run, rules, fields = self.shared.known, self.core.rules, self.extras.fields
        return TurnMachine(
            Progress(self.agent_id, run, rules, options, state=state, polling=polling, message=message, fields=fields)
        )

    async def write_down(self, turn: Progress) -> None:
        """Have the journal write down what a turn has noted."""
        journal, notes = self.journal, turn.notes
        assert journal is not None  # noqa: S101 - else the turn makes no notes
        while notes:
            note, token = notes.pop(0), turn.token
            if note is Note.ANSWERED:
                turn.drift = self.core.drift()
                await journal.answered(turn.announced(self.core.time()))
            elif note is Note.ARRIVED:
                journal.arrived()
            elif note is Note.COMPLETED:
                journal.completed()
            else:
                assert token is not None  # noqa: S101 - the job and its run are known
                await journal.waiting(token, refused=turn.is_unsent)

    async def rest(self) -> None:
        """Wait for the turns that are under way on the run.

        Raises:
            ConfigurationError: They belong to another event loop.
            SessionBusyError: One of them is the caller's own.
        """
        queue, visitor = self.shared.queue, Visitor()
        if not queue.take(visitor):
            self.core.check_usable()
            await queue.acquire(visitor)
        queue.release(visitor)

    def begin_anew(self) -> None:
        """Go on with a new run."""
        self.shared = SharedRun(Run())

    def go_on_with(self, run_id: str) -> Run:
        """Go on with a run; what is known of it is returned."""
        self.shared = self.core.run_of(self.agent_id, run_id)
        return self.shared.known

    def check_open(self) -> None:
        """Check that the session is open, and its client.

        Raises:
            ClosedError: It was closed.
        """
        if self._closed:
            raise ClosedError("the session is closed", safe_to_retry=True)
        self.core.check_open()

    def close(self) -> None:
        """End its open turns.

        Raises:
            ConfigurationError: They belong to another event loop.
        """
        if self.open_turns:
            self.core.check_loop()
        self._closed = True
        for turn in list(self.open_turns):
            turn.interrupt(ClosedError("the session was closed"))

    def known_run_id(self) -> str:
        """The run id, where it is needed.

        Raises:
            ProtocolError: The answer that should have brought it did not.
        """
        if self.run_id is None:
            raise nameless()
        return self.run_id

    async def read(self) -> JobStatus:
        """One GET of the run, which must be known."""
        self.core.check_usable()
        return await self.core.service.read(self.agent_id, self.known_run_id())

    async def history(self) -> list[Message]:
        """The whole conversation, which must have begun."""
        self.core.check_usable()
        history = await self.core.service.history(self.agent_id, self.known_run_id())
        self.run.transcript.saw(history)
        return history
