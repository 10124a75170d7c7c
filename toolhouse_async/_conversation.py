"""One conversation as one session sees it: its ids, and what goes with its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ._core import Core, Live
from ._options import check_json
from ._results import JobStatus, JobToken, Message
from ._run import Run, Uncertain
from ._wire.history import Place
from ._wire.ids import check_id
from .errors import ClosedError, ConfigurationError, ProtocolError


class Extras:
    """What goes with every message of the user's, never with an automatic resume."""

    __slots__ = ("_given",)

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
        self._given = {name: value for name, value in fields.items() if value is not None}
        for name, given in self._given.items():
            check_json(name, given)

    def fields(self) -> dict[str, Any]:
        """Those that are set, as fields of the body."""
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in self._given.items()}


NO_EXTRAS: Final = Extras()


class Journal(Protocol):
    """Who writes down where a conversation stands, so that another process can go on with it.

    What it awaits holds up the turn; what it raises ends the turn.
    """

    async def sending(self, place: Place, *, resumes: bool) -> None:
        """A message is about to be sent, the user's or a resume; ``place`` is where its answer will stand."""
        ...

    async def answered(self) -> None:
        """The service has accepted a message or a resume; the conversation's run id is known."""
        ...

    async def waiting(self, token: JobToken) -> None:
        """A background job is running."""
        ...

    def completed(self) -> None:
        """The turn has come to its end, and nothing is left open."""
        ...

    def begin_anew(self) -> bool:
        """The service does not know the run: forget it if that is wanted, and say whether it was."""
        ...


class Conversation:
    """The ids of a conversation and the run they lead to.

    Attributes:
        run_id: The latest header's value; ``None`` before the first answer.
        run: What all sessions on this run share.
        job: The job that a turn left running, if one did.
        is_nameless: Whether it was begun by an answer without a run id, so that it cannot be continued.
        open_turns: Turns that have begun and are not over.
        journal: Who writes down where it stands, if anybody does.
    """

    __slots__ = (
        "_closed",
        "agent_id",
        "core",
        "extras",
        "is_nameless",
        "job",
        "journal",
        "open_turns",
        "run",
        "run_id",
    )

    def __init__(self, core: Core, agent_id: str, run_id: str | None, extras: Extras) -> None:
        self.core: Core = core
        self.agent_id: str = agent_id
        self.extras: Extras = extras
        self.run_id: str | None = None
        self.run: Run = Run()
        self.job: JobToken | None = None
        self.is_nameless: bool = False
        self.open_turns: set[Live] = set()
        self.journal: Journal | None = None
        self._closed = False
        if run_id is not None:
            self.run_id = check_id(run_id, "run id")
            self.run = core.run_of(agent_id, run_id)

    def restore(
        self, run_id: str | None, said: Mapping[str, int] | None, uncertain: Uncertain | None, job: JobToken | None
    ) -> None:
        """Go on where another process left off, or with nothing.

        Args:
            run_id: The conversation.
            said: What the run was told before, as :attr:`Run.all_said` has it.
            uncertain: A message of unknown fate.
            job: A job that was left running.
        """
        self.run_id, self.job, self.is_nameless = run_id, job, False
        self.run = Run() if run_id is None else self.core.run_of(self.agent_id, run_id)
        if run_id is not None and said is not None:
            self.run.restore(said)
        self.run.uncertain = uncertain

    def check_open(self) -> None:
        """Check that the session is open.

        Raises:
            ClosedError: It was closed.
        """
        if self._closed:
            raise ClosedError("the session is closed")

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

    def place_of(self, words: str | None, history: Sequence[Message] | None) -> Place:
        """Where the answer to a message will stand that is about to be sent.

        Args:
            words: The message.
            history: The conversation so far, where it was read just before.
        """
        if self.run_id is None:
            return Place(words, length=0, repeated=False, said_before=0)
        said_before, open_message = self.run.times_said(words), self.run.uncertain
        if open_message is not None and (open_message.place.words or "") == (words or ""):
            said_before = None  # nobody knows whether that one is among them
        if history is not None and not self.run.is_shown_in(history):
            history = None  # it lags behind what was said and heard, so its length is no place
        length, last = (None, None) if history is None else (len(history), history[-1] if history else None)
        return Place(words, length, last, said_before != 0, said_before)

    def answered(self, run_id: str | None) -> None:
        """Take the run id that an answer brought; one without keeps the old."""
        self.is_nameless = run_id is None and self.run_id is None
        if run_id is None or run_id == self.run_id:
            return
        if self.run_id is None:
            self.run.begun = self.core.time()
        self.run_id = run_id
        self.core.name_run(self.run, self.agent_id, run_id)

    @property
    def has_begun(self) -> bool:
        """Whether the service has answered a message of this conversation, or had before."""
        return self.run_id is not None or self.is_nameless

    def known_run_id(self) -> str:
        """The run id, where it is needed.

        Raises:
            ProtocolError: The answer that should have brought it did not.
        """
        if self.run_id is None:
            raise ProtocolError("the answer has no X-Toolhouse-Run-ID, so the conversation cannot be read or continued")
        return self.run_id

    async def read(self) -> JobStatus:
        """One GET of the run, which must be known."""
        self.core.check_usable()
        return await self.core.service.read(self.agent_id, self.known_run_id())

    async def history(self) -> list[Message]:
        """The whole conversation, which must have begun."""
        self.core.check_usable()
        return await self.core.service.history(self.agent_id, self.known_run_id())
