"""Holds what the client says to what is true."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from toolhouse_async import (
    ClosedError,
    Event,
    JobStarted,
    OutcomeUnknownError,
    ResumeUncertainError,
    StreamInterruptedError,
    StreamRecovered,
    TextDelta,
    ToolhouseError,
    TurnResult,
    TurnResumed,
)

from .world import Accepted, World


class Violation(Exception):  # noqa: N818 - what it is called
    """The client says what is not true, or does what it must not.

    Args:
        kind: Which rule it breaks.
        detail: What was said, and the truth.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


@define(eq=False)
class Sending:
    """A message that a program sends once, and what it was told of it.

    Attributes:
        words: The message.
        first: How many messages the service had taken before.
        heard: How many had got there.
        last: How many when it was over; ``None`` while it is not.
        events: What its turn gave.
        result: What it came to …
        error: … or why it failed; neither if it was stopped.
        is_settled: Whether ``reconcile()`` has told what became of it.
        is_noted: Whether it was written down before it was sent.
    """

    words: str
    first: int
    heard: int
    last: int | None = None
    events: list[Event] = field(factory=list[Event])
    result: TurnResult | None = None
    error: ToolhouseError | None = None
    is_settled: bool = False
    is_noted: bool = False

    @property
    def was_refused(self) -> bool:
        """Whether the program was told that it was not accepted."""
        return self.error is not None and self.error.safe_to_retry is True


class Judge:
    """Knows the world, and hears all that the client says.

    Attributes:
        sendings: The messages that the program has sent.
        noted: Violations after which a run can go on.
        heals: Whether turns are to be healed from the history.
    """

    __slots__ = ("_world", "heals", "noted", "sendings")

    def __init__(self, world: World) -> None:
        self._world = world
        self.sendings: list[Sending] = []
        self.noted: list[Violation] = []
        self.heals = True

    def sends(self, words: str) -> Sending:
        """A message is about to be sent."""
        sending = Sending(words, len(self._world.accepted), len(self._world.heard))
        self.sendings.append(sending)
        return sending

    def dies(self, sending: Sending | None, *, is_kept: bool) -> None:
        """The process is killed that was sending, and what it has heard is lost with it.

        Where it is written down what is sent, and this was not, it was not sent.
        """
        if sending is not None:
            sending.events = []
            if is_kept and not sending.is_noted:
                self.sendings.remove(sending)

    def taken(self, sending: Sending) -> Accepted | None:
        """The message as the service took it, if it did."""
        took = [each for each in self._world.accepted[sending.first : sending.last] if each.words == sending.words]
        if len(took) > 1:
            raise Violation("a message was accepted twice", f"{sending.words!r}: {self._world.requests}")
        return took[0] if took else None

    def is_over(self, sending: Sending) -> None:
        """A turn has come to its result or its error, or was stopped."""
        sending.last = len(self._world.accepted)
        took = self.taken(sending)
        self.holds()
        if sending.result is not None:
            self._succeeded(sending, took, sending.result)
        elif sending.error is not None:
            self._failed(sending.error, took, sending.events)
            if sending.error.safe_to_retry is not True and sending.words not in self._world.heard[sending.heard :]:
                kind = f"safe_to_retry is not True, and the message was never sent ({type(sending.error).__name__})"
                self.noted.append(Violation(kind, str(sending.error)))

    def holds(self) -> None:
        """What must be true at any time."""
        world = self._world
        for sending in self.sendings:
            self.taken(sending)
        if len(world.accepted) > len(self.sendings):
            raise Violation("more messages were accepted than were sent", str(world.requests))
        if world.strays:
            raise Violation("a run was resumed that waited for nothing", str(world.requests))

    def _succeeded(self, sending: Sending, took: Accepted | None, result: TurnResult) -> None:
        if took is None:
            raise Violation("success for a message that was not accepted", repr(result.text))
        if result.status == "background":
            if not took.waits:
                raise Violation("a turn was left to a job, and none waits", repr(result))
        else:
            self._is_whole(took, result.text, "success")
        told = text_of(sending.events)
        if told != result.text:
            raise Violation("the events add up to another text than the result", f"{told!r}, {result.text!r}")

    def _is_whole(self, took: Accepted, text: str, what: str, *, since: int = 0) -> None:
        truth = "".join(each.text for each in took.rounds[since:])
        if took.waits:
            raise Violation(f"{what}, and a job was left without its resume", f"said {text!r}, so far {truth!r}")
        if not self._is_same(text, truth):
            raise Violation(f"{what} with another text than the truth", f"said {text!r}, truth {truth!r}")

    def _is_same(self, said: str, truth: str) -> bool:
        return said == truth or (self._world.switches.spacing and _squeezed(said) == _squeezed(truth))

    def _failed(self, error: ToolhouseError, took: Accepted | None, events: Iterable[Event] = ()) -> None:
        name = type(error).__name__
        if error.safe_to_retry is True and took is not None:
            raise Violation(f"safe_to_retry is True, and the message was accepted ({name})", str(error))
        if error.safe_to_retry is False and took is None:
            kind = f"safe_to_retry is False, and the message was not accepted ({name})"
            self.noted.append(Violation(kind, str(error)))
        self._can_tell(error, took)
        partial: TurnResult | None = getattr(error, "partial", None)
        if partial is not None and partial.text:
            truth = "" if took is None else took.text
            if not _squeezed(truth).startswith(_squeezed(partial.text)):
                said = f"{partial.text!r}, truth {truth!r}"
                raise Violation(f"the partial text is not the beginning of the truth ({name})", said)
        if any(isinstance(event, JobStarted) and event.job_id == self._world.latest_job for event in events):
            self._has_token(error, took)  # there can be none for a job whose id was never told

    def _can_tell(self, error: ToolhouseError, took: Accepted | None) -> None:
        """A turn gives up only where the history does not show what became of it; here it does, in time."""
        left = getattr(error, "token", None)  # a turn that leaves its job does not wait for what was cut before it
        if not self._world.switches.is_understood or took is None or not self.heals or left is not None:
            return
        if isinstance(error, StreamInterruptedError | ResumeUncertainError):
            self.noted.append(Violation(f"{type(error).__name__}, and the history shows what is true", str(error)))

    def waited(self, result: TurnResult, *, again: bool) -> None:
        """One who waited for the job that a turn has left has all that followed it.

        Who waits again has what followed the job that was running by then.
        """
        self.holds()
        took = self._world.accepted[-1]
        since = [number for number in range(1, len(took.rounds)) if again or number == 1]
        ends = [number for number in since if result.text == "".join(each.text for each in took.rounds[number:])]
        self._is_whole(took, result.text, "success of a waiter", since=ends[0] if ends else 1)

    def waiter_failed(self, error: ToolhouseError) -> None:
        """One who waited was told an error."""
        self.holds()
        self._can_tell(error, self._world.accepted[-1])
        self._has_token(error, self._world.accepted[-1])

    def _has_token(self, error: ToolhouseError, took: Accepted | None) -> None:
        """An error behind a job lets its reader go on with it, unless they have closed the turn themselves."""
        has_token = getattr(error, "token", None) is not None or isinstance(error, ClosedError)
        if took is not None and took.waits and not has_token:
            self.noted.append(Violation(f"an error behind a job has no token ({type(error).__name__})", str(error)))

    @property
    def is_in_doubt(self) -> bool:
        """Whether it is not known what became of the last message."""
        return self.sendings[-1].result is None and not self.sendings[-1].was_refused

    @property
    def doubtful(self) -> Sending | None:
        """The message that ``reconcile()`` speaks of: the last that may have been accepted."""
        return next((each for each in reversed(self.sendings) if not each.was_refused), None)

    def reconciled(self, found: TurnResult | ToolhouseError | None, run_id: str | None) -> None:
        """Hold what ``reconcile()`` says, asked for the first time or anew, to the truth."""
        sending = self.doubtful
        took = None if sending is None else self.taken(sending)
        self.holds()
        if sending is not None and not isinstance(found, ToolhouseError):
            sending.is_settled = True
        if found is None:
            if sending is not None and took is not None and sending.result is None:
                raise Violation("reconcile() says that the message is absent, and it was accepted", took.text)
        elif isinstance(found, ToolhouseError):
            understood = self._world.switches.is_understood and run_id is not None
            if self._world.calm and understood and not self._is_one_of_several(sending):
                name = type(found).__name__
                kind = "accepted" if took is not None else "absent"
                raise Violation(f"reconcile() cannot tell ({name}), and the history shows it: {kind}", str(found))
            self._failed(found, took)
        elif took is None:
            raise Violation("reconcile() has an answer to a message that was not accepted", repr(found.text))
        else:
            self._is_whole(took, found.text, "an answer of reconcile()")

    def recovered(self, words: str, found: TurnResult | ToolhouseError) -> None:
        """Hold what ``recover()`` says in another process, of a message or (``""``) of the last one, to the truth."""
        world = self._world
        took = next((each for each in reversed(world.accepted) if words in ("", each.words)), None)
        self.holds()
        if isinstance(found, TurnResult):
            if took is None:
                raise Violation("recover() has an answer to a message that was not accepted", repr(found.text))
            self._is_whole(took, found.text, "an answer of recover()")
            return
        if world.calm and took is not None and world.switches.is_understood:
            raise Violation(f"recover() cannot tell ({type(found).__name__}), and the history shows it", str(found))
        self._failed(found, took)

    def agrees(self, recovered: TurnResult | ToolhouseError | None, ended: TurnResult | ToolhouseError | None) -> None:
        """What was recovered is what ``reconcile()`` says afterwards."""
        if isinstance(recovered, TurnResult) and not (isinstance(ended, TurnResult) and ended.text == recovered.text):
            self.noted.append(Violation("reconcile() says something else than recover()", f"{recovered}, {ended}"))

    def _is_one_of_several(self, sending: Sending | None) -> bool:
        """Whether some, not all, of several sendings of the same words were accepted, and no history says which."""
        if sending is None or sending.events:
            return False
        open_ones = [
            each
            for each in self.sendings
            if each.words == sending.words and each.result is None and not each.was_refused and not each.is_settled
        ]
        return 0 < sum(self.taken(each) is not None for each in open_ones) < len(open_ones)

    def is_consistent(
        self, first: TurnResult | ToolhouseError | None, second: TurnResult | ToolhouseError | None
    ) -> None:
        """What was learned stays learned."""
        said = f"{_brief(first)}, then {_brief(second)}"
        if isinstance(first, ToolhouseError):
            if first.safe_to_retry is False and (second is None or _may_retry(second)):
                self.noted.append(Violation("reconcile() said that the message arrived, and forgets it", said))
        elif isinstance(second, ToolhouseError):
            self.noted.append(Violation("reconcile() knew, and raises when asked again", said))
        elif (first is None) != (second is None) or (first and second and first.text != second.text):
            self.noted.append(Violation("reconcile() says something else when asked again", said))

    def is_refused_truly(self, error: ToolhouseError, *, knows: bool) -> None:
        """The next message was refused although the service works; right where an earlier one is uncertain."""
        if knows or not isinstance(error, OutcomeUnknownError):
            raise Violation(f"the conversation does not go on ({type(error).__name__})", str(error))

    def is_clean(self) -> None:
        """At the end of a program nothing is left open."""
        self.holds()
        if self._world.open:
            raise Violation("a connection is left open", f"{self._world.open}")


def _brief(outcome: TurnResult | ToolhouseError | None) -> str:
    return repr(outcome.text if isinstance(outcome, TurnResult) else outcome)


def _may_retry(outcome: TurnResult | ToolhouseError) -> bool:
    return isinstance(outcome, ToolhouseError) and outcome.safe_to_retry is True


def _squeezed(text: str) -> str:
    return "".join(text.split())


def brief(events: Iterable[Event]) -> list[Event]:
    """A few events from which the judge concludes the same: whether there were any, the latest job, and the words.

    The words of the latest round stand apart, since a recovered answer would take their place.
    """
    before, latest, jobs, is_any = "", "", list[Event](), False
    for event in events:
        is_any = True
        match event:
            case TurnResumed():
                before, latest = before + latest, ""
            case JobStarted():
                jobs = [event]
            case _:
                latest = _with(latest, event)
    return [*jobs, TextDelta(before), TurnResumed("", 0), TextDelta(latest)] if is_any else []


def _with(text: str, event: Event) -> str:
    """The words of a round, and what an event makes of them."""
    match event:
        case TextDelta(text=more):
            return text + more
        case StreamRecovered(text=whole, missing=missing):
            return whole.removesuffix(missing)
        case _:
            return text


def text_of(events: Iterable[Event]) -> str:
    """What a reader of the events has in the end, who lets a recovered answer stand for its round."""
    rounds = [""]
    for event in events:
        if isinstance(event, TurnResumed):
            rounds.append("")
        else:
            rounds[-1] = _with(rounds[-1], event)
    return "".join(rounds)
