"""What makes two states of an exploration the same.

A state is all that its objects hold, times being relative to now. Of that the table :data:`REDUCED` leaves out what no
later step and no judgement depends on. Whether it leaves out too much is checked by
:func:`tests.explore.courses.check`: states that are taken for one must go on in the same way, whatever happens.

What is done with a class is made up once, when the first of its objects comes along, as a function with a line for each
of its slots: a slot that the table does not know is part of the state.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from hashlib import blake2b
from types import MethodType
from typing import Any, Final, Literal, TypeAlias

from attrs import define, field

from toolhouse_async._turn.fold import Fold
from toolhouse_async._turn.table import State

from .clock import EPOCH
from .copies import NO_STATE, SETTINGS, compiled, is_shared, slots_of
from .truth import Sending
from .world import LAG, Entry

LONG_AGO: Final = 16.0
"""Seconds beyond which nothing depends on how long ago something was: the longest wait is a search's, 12 + 3."""
NEVER: Final = 600.0
"""Seconds after which nothing happens any more: a course has 150 requests at most, mostly a second apart."""

_Key: TypeAlias = "Callable[[Any, View], Hashable]"


@define(eq=False)
class View:
    """From where a state is looked at.

    Attributes:
        now: The time.
        keys: How objects of a class are looked at.
        state: What the turn is doing, if there is one.
    """

    now: float
    keys: Keys
    state: State | None = None
    seen: dict[int, int] = field(factory=dict[int, int])

    def of(self, value: Any) -> Hashable:
        """What a value is."""
        how = self.keys[type(value)]
        plain: Hashable = value
        return plain if how is None else how(value, self)


# What is left out, and why


def _is_there(value: Any, _: View) -> Hashable:
    """Its words go into texts for people alone."""
    return value is not None


def _to_come(value: float, view: View) -> Hashable:
    """A bound for the time of a request: one that has passed binds no more."""
    return max(_ticks(value, view), 0)


def _while_reading(value: Any, view: View) -> Hashable:
    """What reads an answer is made anew with each answer."""
    return view.of(value) if view.state is State.STREAMING else None


def _while_looking(value: Any, view: View) -> Hashable:
    """A search is begun anew in any other state."""
    return view.of(value) if view.state in _LOOKING else None


def _until_settled(value: Any, view: View) -> Hashable:
    """That an answer told of a job is asked until it has ended and was settled; then the job itself is known."""
    return view.of(value) if view.state in (State.STREAMING, State.SETTLING) else None


def _first(value: Any, _: View) -> Hashable:
    """A job's start decides about its deadline alone, which no course comes near."""
    return None if value is None else value[0]


_LOOKING: Final = (State.CHECKING, State.SETTLING, State.HEALING, State.RESUMING, State.FINDING, State.RECOVERING)
_FIXED: Final = ("choices", "_time", "decoder", "_decoder", "requests", "stops", "now")
"""The same in all states of one exploration, or for reports; times are relative to now."""
UNREDUCED: Final[Mapping[str, _Key | None]] = dict.fromkeys(_FIXED)
"""How slots are looked at that are not part of the state as they are, by ``slot`` or ``Class.slot``; ``None``: not."""
REDUCED: Final[Mapping[str, _Key | None]] = {
    **UNREDUCED,
    "Progress.answering": _while_reading,
    "Progress.search": _while_looking,
    "Progress.cut": _is_there,
    "Progress.not_before": _to_come,
    "Conflicts.latest": _is_there,
    "Head.job_id": _until_settled,
    "Unfinished.job": _first,
    # the start of a job or of a run: see _first; the deadline for refusals is the same
    **dict.fromkeys(("Job.started", "JobToken.started", "Polls._started", "Polls._run_begun", "Run.begun")),
    "Conflicts._since": _is_there,
    # for users alone: counts and times in results and events, and what was read last
    **dict.fromkeys(
        ("JobRecord.elapsed", "JobRecord.polls", "Job.polls", "Polls.latest", "Progress.status", "Progress.drift")
    ),
    **dict.fromkeys(
        f"TurnResult.{name}" for name in ("recovered", "unknown", "malformed", "tool_calls", "rounds", "jobs")
    ),
    # the same in all states, or wherever the others are the same
    **dict.fromkeys(("agent_id", "notes", "fields", "_max_line", "polling", "_polling", "_policy", "switches")),
    **dict.fromkeys(("World.resumes", "World.open", "World._jobs", "Judge._world", "Course.polled")),
    **dict.fromkeys(("Reply.world", "Reply.status", "Reply.headers", "Polls._run_id")),
    "World.heard": None,  # asked for when a turn is over, see courses._Next
    "Course.to_do": lambda value, _: len(value),
}


def _fold(fold: Fold, view: View) -> Hashable:
    """No judgement depends on calls, nor on what of the words was healed: the same words are the same state."""
    result = fold.result("", None)
    jobs = result.jobs
    text = "".join(result.rounds[:-1])
    open_call = (fold.unanswered_call, fold.round_has_call)
    return text, result.rounds[-1], open_call, view.of(fold.error), jobs[-1].job_id if jobs else None


def _sending(sending: Sending, view: View) -> Hashable:
    """Of one that is over nobody asks any more but whether, and how; the events are summed up by :func:`brief`."""
    error = sending.error
    told = None if error is None else (type(error).__name__, error.safe_to_retry)
    events = view.of(sending.events) if sending.last is None else bool(sending.events)
    return sending.words, sending.first, sending.last, events, sending.result is None, told, sending.is_settled


# How a value is looked at


def _ticks(value: float, view: View) -> int:
    return round((value - view.now) * 1000)


def _float(value: float, view: View) -> Hashable:
    if value < EPOCH / 2:
        return value  # no moment, but some seconds
    return min(max(_ticks(value, view), round(-LONG_AGO * 1000)), round(NEVER * 1000))


def _sequence(value: Any, view: View) -> Hashable:
    keys = view.keys
    return tuple([each if (how := keys[type(each)]) is None else how(each, view) for each in value])


def _dict(value: dict[Any, Any], view: View) -> Hashable:
    return tuple([(view.of(name), view.of(each)) for name, each in value.items()])


def _set(value: set[Any], _: View) -> Hashable:
    return tuple(sorted(value))


def _bytes(value: bytearray, _: View) -> Hashable:
    return bytes(value)


def _name(value: Enum, _: View) -> Hashable:
    return str(value._name_)


def _nothing(value: Any, _: View) -> Hashable:
    return None


_REPRS: Final[dict[int, tuple[Any, str]]] = {}


def _settings(value: Any, _: View) -> Hashable:
    """What never changes is written out once."""
    known = _REPRS.get(id(value))
    if known is None:
        known = _REPRS[id(value)] = (value, repr(value))
    return known[1]


def _entry(value: Entry, view: View) -> Hashable:
    number = view.seen.get(id(value))
    if number is not None:
        return number
    view.seen[id(value)] = len(view.seen)
    return _settings(value.data, view), max(_ticks(value.at, view), round(-LAG * 1000))


def _error(value: BaseException, view: View) -> Hashable:
    parts = [view.of(getattr(value, name, None)) for name in ("safe_to_retry", "partial", "token")]
    return type(value).__name__, *parts


_KINDS: Final[tuple[tuple[type | tuple[type, ...], _Key], ...]] = (
    (Enum, _name),
    (float, _float),
    ((list, tuple, deque), _sequence),
    (dict, _dict),
    (set, _set),
    (bytearray, _bytes),
    (BaseException, _error),
    (Entry, _entry),
    (SETTINGS, _settings),
    ((MethodType, *NO_STATE), _nothing),
)


class Keys(dict[type, "_Key | None"]):
    """How objects of a class are looked at; ``None`` where they are what they are."""

    def __init__(self, parts: Mapping[str, _Key | None], further: Mapping[type, _Key]) -> None:
        super().__init__(dict.fromkeys((str, int, bool, bytes, type(None))))
        self.update(further)
        self._parts = parts

    def __missing__(self, kind: type) -> _Key | None:
        how = next((how for kinds, how in _KINDS if issubclass(kind, kinds)), None) or self._made(kind)
        self[kind] = how
        return how

    def _how(self, kind: type, name: str) -> _Key | Literal["as it is"] | None:
        for each in (f"{kind.__name__}.{name}", name):
            if each in self._parts:
                return self._parts[each]
        return "as it is"

    def _made(self, kind: type) -> _Key:
        lines, parts, known = ["def key(value, view):"], [repr(kind.__name__)], dict[str, Any](keys=self)
        if not is_shared(kind):  # else it is equal wherever it is
            lines += [" seen = view.seen", " number = seen.get(id(value))", " if number is not None: return number"]
            lines += [" seen[id(value)] = len(seen)"]
        for name in slots_of(kind):
            how = self._how(kind, name)
            if how == "as it is":
                lines += [f" of_{name} = value.{name}", f" how = keys[type(of_{name})]"]
                lines += [f" if how is not None: of_{name} = how(of_{name}, view)"]
                parts.append(f"of_{name}")
            elif how is not None:
                known[f"how_{name}"] = how
                parts.append(f"how_{name}(value.{name}, view)")
        if kind.__dictoffset__:
            known["parts"] = lambda own: [name for name in own if self._how(kind, name) == "as it is"]
            lines += [" own = value.__dict__"]
            parts.append("tuple([view.of(own[name]) for name in parts(own)])")
        made: _Key = compiled("key", [*lines, f" return ({', '.join(parts)},)"], **known)
        return made


_ALL: Final = Keys(UNREDUCED, {})
SUMMED_UP: Final[Mapping[type, _Key]] = {Fold: _fold, Sending: _sending}
ENOUGH: Final = Keys(REDUCED, SUMMED_UP)


def key_of(whole: Any, now: float, state: State | None = None, *, reduces: bool = True) -> bytes:
    """What stands for all that a state is.

    Args:
        whole: The state.
        now: The time.
        state: What the turn is doing, if there is one.
        reduces: Whether to leave out what nothing depends on.
    """
    view = View(now, ENOUGH if reduces else _ALL, state)
    parts: Any = view.of(whole)
    return blake2b(marshal.dumps(parts, 2), digest_size=16).digest()  # version 2 tells values, not objects
