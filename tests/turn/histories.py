"""A small world of services, and what a reading of a history proves in it.

Every service shows every history that it might: late, half, in another form, a window of it, with others' words in it.
What a client has said and heard is the same in many such worlds. A reading that could be had where the message arrived
and where it did not proves nothing; of any other, what is said must be true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

from toolhouse_async._turn import kept
from toolhouse_async._turn.heard import NOTHING_HEARD, key_of, squeezed
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.reading import Sight
from toolhouse_async._turn.transcript import Transcript
from toolhouse_async._values.results import Message
from toolhouse_async._wire.records import Record

View = tuple[tuple[str, str], ...]
"""A history as role and content of its entries."""

OTHERS = (("user", "somebody else"), ("assistant", "for them"))
RESULT = "(a tool's result)"
BLOCKS = [{"type": "tool_result", "content": "7"}]
ANSWERS = ("ok", "ko")
PARTS = ("", "o", "ok", "k", "ko")
"""All that a history may show of an answer."""


class Turn(NamedTuple):
    """What a client has said before, and what it knows of that.

    Attributes:
        words: The message.
        answer: What the worker says to it.
        known: ``"whole"`` if all of the answer was heard, ``"half"`` of it, ``"taken"`` if it was accepted and nothing
            was heard, ``"unsure"`` if nobody knows whether it was accepted.
    """

    words: str
    answer: str
    known: str


class Service(NamedTuple):
    """How a service keeps histories.

    Attributes:
        empty: Whether empty messages stand in them.
        start: Whether one does that starts the run.
        tools: In whose name tools' results do, if they do.
        spaced: Whether it spaces words in another way than they were said.
    """

    empty: bool = True
    start: bool = True
    tools: str = ""
    spaced: bool = False


SERVICES = (
    Service(),
    Service(start=False),
    Service(empty=False),
    Service(empty=False, start=False, tools="tool"),
    Service(tools="user", spaced=True),
)


def recorded(service: Service, words: str, answer: str, *, starts: bool = False) -> View:
    """What a service keeps of a message and its answer."""
    is_kept = words or (service.start if starts else service.empty)
    entries: list[tuple[str, str]] = [("user", words)] if is_kept else []
    if not answer:
        return tuple(entries)
    text = "\n".join(answer) if service.spaced else answer
    if service.tools:
        entries += [("assistant", text[:1]), (service.tools, RESULT)]
        text = text[1:]
    return (*entries, ("assistant", text)) if text else tuple(entries)


def answers(turn: Turn) -> tuple[str, ...]:
    """What may stand in the history of its answer, by all that the client knows."""
    match turn.known:
        case "whole":
            return (turn.answer,)
        case "half":
            return (turn.answer[:1], turn.answer)
        case _:
            return PARTS


class World(NamedTuple):
    """One course of things that a client may be in.

    Attributes:
        before: What stands in the history before our message.
        ours: What stands there of it and of its answer; ``None`` if it did not arrive.
    """

    before: View
    ours: View | None

    @property
    def shown(self) -> View:
        return self.before + (self.ours or ())


def worlds(prefixes: Sequence[View], turns: Sequence[Turn], ours: str) -> Iterator[World]:
    """All that may have happened where a client has said and heard this."""
    for service, prefix in product(SERVICES, prefixes):
        kept = [
            [
                *(recorded(service, turn.words, answer, starts=not number and not prefix) for answer in answers(turn)),
                *[()] * (turn.known == "unsure"),
            ]
            for number, turn in enumerate(turns)
        ]
        for parts in product(*kept):
            before = sum(parts, prefix)
            yield World(before, None)
            for answer in PARTS:
                yield World(before, recorded(service, ours, answer, starts=not turns and not prefix))


def views(world: World) -> Iterator[View]:
    """What the service may show."""
    whole = world.shown
    yield whole
    for size, (role, content) in enumerate(whole):
        yield whole[:size]  # late
        yield whole[size + 1 :]  # a window
        if role == "user" and content != RESULT:
            yield (*whole[:size], *OTHERS, *whole[size:])
        if role == "assistant" and len(content) > 1:
            yield (*whole[:size], (role, content[:1]))  # half an answer
    yield (*whole, *OTHERS)
    yield other_roles(whole)
    yield trimmed(whole)
    yield summed_up(whole)


def other_roles(view: View) -> View:
    return tuple(({"user": "human", "assistant": "ai"}.get(role, role), content) for role, content in view)


def trimmed(view: View) -> View:
    return tuple(
        (role, f"{content}\n" if role == "user" and content in ("x", "y") else content) for role, content in view
    )


def summed_up(view: View) -> View:
    return (("system", "They have talked."), *view[-2:])


def told(view: View) -> View:
    """What a history tells: tools and white space are left aside."""
    entries: list[tuple[str, str]] = []
    for role, content in view:
        if content == RESULT:
            continue
        if role == "assistant" and entries and entries[-1][0] == role:
            entries[-1] = (role, entries[-1][1] + squeezed(content))
        else:
            entries.append((role, squeezed(content) if role == "assistant" else content))
    return tuple(entries)


class Tales:
    """What histories tell; ``anything_before`` where others may have said whatever they liked before."""

    def __init__(self, anything_before: bool, views: Iterable[View]) -> None:
        self._tales = {told(view) for view in views}
        self._anything_before = anything_before

    def __contains__(self, tale: View) -> bool:
        starts = range(len(tale) + 1) if self._anything_before else (0,)
        return any(tale[start:] in self._tales for start in starts)


def messages(view: View) -> list[Message]:
    contents = [(role, BLOCKS if content == RESULT else content) for role, content in view]
    return [Message(role, content, {"role": role, "content": content}) for role, content in contents]


def said_and_heard(transcript: Transcript, turns: Sequence[Turn]) -> None:
    for turn in turns:
        said = transcript.say(turn.words)
        said.is_certain = turn.known != "unsure"
        if said.is_certain:
            text = {"whole": turn.answer, "half": turn.answer[:1], "taken": ""}[turn.known]
            transcript.hear(said, text, whole=turn.known == "whole")


def taken_up(transcript: Transcript) -> Transcript:
    """What another process knows of it, by what a store keeps."""
    run = Run("r1", transcript=transcript)
    kept.take_up(run, Record("r1")._replace(**kept.standing(run, None)), 0.0, idle=0.0, job_age=0.0)
    return run.transcript


def check(
    transcript: Transcript,
    prefixes: Sequence[View],
    turns: Sequence[Turn],
    ours: str,
    *,
    possible: Sequence[View] = (),
    tells: bool = True,
    anything_before: bool = False,
    is_elsewhere: bool = False,
) -> tuple[int, int]:
    """Hold every reading to the truth; how many proved that the message arrived, and that it did not."""
    all_worlds = dict.fromkeys(worlds(prefixes, turns, ours))
    absent = Tales(anything_before, (world.shown for world in all_worlds if world.ours is None))
    arrived = Tales(anything_before, (world.shown for world in all_worlds if world.ours is not None))

    def may_be_absent(tale: View) -> bool:
        return tale in absent or any(
            tale == told(each.shown) for each in worlds(possible, turns, ours) if not each.ours
        )

    said_and_heard(transcript, turns)
    transcript = taken_up(transcript) if is_elsewhere else transcript
    said = transcript.say(ours)
    is_plain = tells and all(turn.known == "whole" for turn in turns)
    truths: dict[View, set[bool]] = {}
    for world in all_worlds:
        for view in views(world):
            truths.setdefault(view, set()).add(world.ours is not None)
    proofs = [0, 0]
    for view, truth in truths.items():
        found, tale = transcript.find(messages(view), said, ""), told(view)
        if found.sight is Sight.ARRIVED:
            proofs[0] += 1
            assert truth == {True} or tale in arrived, f"{turns}, then {ours!r}: {view} is {found}"
            assert tale not in absent, f"{turns}, then {ours!r}: {view} is {found}"
        elif found.sight is Sight.ABSENT:
            proofs[1] += 1
            assert may_be_absent(tale), f"{turns}, then {ours!r}: {view} is {found}"
            assert not ours or tale not in arrived, f"{turns}, then {ours!r}: {view} is {found}"
    for world in all_worlds if is_plain else ():
        if (told(world.shown) in arrived) != (told(world.shown) in absent):
            found = transcript.find(messages(world.shown), said, "")
            proof = Sight.ABSENT if world.ours is None else Sight.ARRIVED
            assert found.sight is proof, f"{turns}, then {ours!r}: {world} is {found}"
    return proofs[0], proofs[1]


WORDS = ("x", "y", "")
FIRST = [Turn(words, "ok", known) for words in ("x", "") for known in ("whole", "half", "unsure")]
LATER = [
    *(Turn("x", answer, known) for answer, known in product(ANSWERS, ("whole", "half"))),
    *(Turn("", "ok", known) for known in ("whole", "half")),
    *(Turn(words, "", known) for words, known in product(("x", ""), ("taken", "unsure"))),
    Turn("y", "ok", "whole"),
    Turn("y", "", "unsure"),
]
COURSES = [
    *((turn,) for turn in FIRST),
    # What is heard behind words that are not known to the end has no place of its own: only its length counts.
    *((first, later) for first, later in product(FIRST, LATER) if first.known == "whole" or later.words),
]
SHORT = [(), *((turn,) for turn in (*FIRST, *LATER))]
THEIRS = (("user", "hi"), ("assistant", "hello"))
ALIKE = (("user", "x"), ("assistant", "ok"))


def check_own(course: Sequence[Turn], ours: str) -> tuple[int, int]:
    """A run that this client has begun."""
    return check(Transcript({}), [()], course, ours)


def check_elsewhere(course: Sequence[Turn], ours: str) -> tuple[int, int]:
    """The same in another process, where it begins with a message of unknown fate."""
    return check(Transcript({}), [()], course, ours, is_elsewhere=True)


def check_read(course: Sequence[Turn], ours: str, prefix: View) -> None:
    """A run that others have begun, and that was read before anything was said."""
    transcript = Transcript(None)
    transcript.saw(messages(prefix))
    check(transcript, [prefix], course, ours)


def check_unread(course: Sequence[Turn], ours: str) -> None:
    """A run that others have begun, and that nobody has read."""
    check(Transcript(None), [(), THEIRS, ALIKE], course, ours, tells=False, anything_before=True)


def check_known(course: Sequence[Turn], ours: str, tail: str | None) -> None:
    """A run that another process knew, and what it had heard last, if that is known."""
    heard = None if tail is None else NOTHING_HEARD.followed_by(tail, whole=True)
    possible = [
        (*recorded(Service(), first, text), *recorded(Service(), last, answer))
        for first, last in ("xy", "yx")
        for text in sorted({one + other for one, other in product(PARTS, PARTS)})
        for answer in ([tail] if tail else PARTS)
    ]
    before = [
        (*recorded(Service(), first, "ok"), *recorded(Service(), last, tail or "ok")) for first, last in ("xy", "yx")
    ]
    transcript = Transcript({key_of("x"): 1, key_of("y"): 1}, heard)
    check(transcript, before, course, ours, possible=possible, tells=tail is not None)
