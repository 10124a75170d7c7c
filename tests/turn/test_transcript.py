"""What a reading of a history proves of a message, held to what is true.

Every service of a small world shows every history that it might: late, half, in another form, a window of it, with
others' words in it. What a client has said and heard is the same in many such worlds. A reading that could be had where
the message arrived and where it did not proves nothing; of any other, what is said must be true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import pytest

from toolhouse_async._turn.heard import NOTHING_HEARD, Said, goes_on_from, is_same_text, is_shorter, key_of, squeezed
from toolhouse_async._turn.reading import Reply, Sight, fingerprint
from toolhouse_async._turn.transcript import Found, Transcript
from toolhouse_async._values.results import Message
from toolhouse_async._wire.entries import End

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


def check(
    transcript: Transcript,
    prefixes: Sequence[View],
    turns: Sequence[Turn],
    ours: str,
    *,
    possible: Sequence[View] = (),
    tells: bool = True,
    anything_before: bool = False,
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


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("ours", ["x", ""])
def test_a_run_of_ones_own(ours: str, first: Turn) -> None:
    proofs = [check(Transcript({}), [()], course, ours) for course in COURSES if course[0] == first]
    assert any(arrived for arrived, _ in proofs)
    assert any(absent for _, absent in proofs)


THEIRS = (("user", "hi"), ("assistant", "hello"))
ALIKE = (("user", "x"), ("assistant", "ok"))


@pytest.mark.parametrize("prefix", [THEIRS, ALIKE])
@pytest.mark.parametrize("ours", WORDS)
def test_a_run_of_others_that_was_read_before(ours: str, prefix: View) -> None:
    for course in SHORT:
        transcript = Transcript(None)
        transcript.saw(messages(prefix))
        check(transcript, [prefix], course, ours)


@pytest.mark.parametrize("ours", WORDS)
def test_a_run_of_others_that_was_not_read(ours: str) -> None:
    for course in SHORT:
        check(Transcript(None), [(), THEIRS, ALIKE], course, ours, tells=False, anything_before=True)


@pytest.mark.parametrize("tail", ["ok", "ko", None])
@pytest.mark.parametrize("ours", WORDS)
def test_a_run_that_another_process_knew(ours: str, tail: str | None) -> None:
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
    for course in SHORT:
        transcript = Transcript({key_of("x"): 1, key_of("y"): 1}, heard)
        check(transcript, before, course, ours, possible=possible, tells=tail is not None)


@pytest.mark.parametrize(
    ("text", "partial", "goes_on", "is_same", "shorter"),
    [
        ("one two", "one", True, False, False),
        ("one\ntwo", "one t", True, False, False),
        ("one", "one ", True, True, False),
        ("on", "one", False, False, True),
        ("other", "one", False, False, False),
        ("", "", True, True, False),
    ],
)
def test_texts_are_compared_without_their_white_space(
    text: str, partial: str, goes_on: bool, is_same: bool, shorter: bool
) -> None:
    assert goes_on_from(text, partial) is goes_on
    assert is_same_text(text, partial) is is_same
    assert is_shorter(text, partial) is shorter


def chat(*entries: str) -> list[Message]:
    """Entries written as ``"u: words"``."""
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    return messages(tuple((roles[entry[0]], entry[3:]) for entry in entries))


def said_after(transcript: Transcript, words: str | None, *before: tuple[str | None, str]) -> Said:
    for each, heard in before:
        said = transcript.say(each)
        said.is_certain = True
        transcript.hear(said, heard, whole=True)
    return transcript.say(words)


@pytest.mark.parametrize(
    ("entries", "reply"),
    [
        (["u: hi", "a: one"], Reply("one", End.WORDS, 1)),
        (["u: hi", "a: one", "t: x", "a: two"], Reply("onetwo", End.WORDS, 3)),
        (["u: hi", "a: one", "t: x"], Reply("one", End.TOOL, 2)),
        (["u: hi", "a: one", "t: x", "u: "], Reply("one", End.NOTHING, 3)),
        (["u: hi", "a: one", "t: x", "u: next"], Reply("one", End.NOTHING, 2)),  # somebody has gone on
        (["u: hi"], Reply("", End.NOTHING, 0)),
    ],
)
def test_the_reply_is_what_stands_behind_the_message(entries: list[str], reply: Reply) -> None:
    transcript = Transcript({})
    assert transcript.find(chat(*entries), said_after(transcript, "hi"), "") == Found(Sight.ARRIVED, reply)


@pytest.mark.parametrize("words", [None, ""])
def test_the_reply_to_a_message_without_words_is_what_was_not_heard_before_it(words: str | None) -> None:
    transcript = Transcript({})
    said = said_after(transcript, words, ("hi", "w ait"))
    for entries in (["u: hi", "a: wa it\n", "t: x", "u: ", "a: done"], ["u: hi", "a: wait", "t: x", "a: done"]):
        found = transcript.find(chat(*entries), said, "")
        assert found.sight is Sight.ARRIVED
        assert found.reply is not None
        assert (found.reply.text, found.reply.end) == ("done", End.WORDS)
    assert transcript.find(chat("u: hi", "a: wait", "u: "), said, "").sight is Sight.ARRIVED
    assert transcript.find(chat("u: hi", "a: wait", "t: x"), said, "").sight is Sight.ABSENT
    assert transcript.find(chat("u: hi", "a: wa"), said, "").sight is Sight.LAGS


def test_content_blocks_are_matched_by_their_text() -> None:
    transcript = Transcript({})
    thought = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "yes"}]
    history = [Message("user", [{"type": "text", "text": "hi"}], {}), Message("assistant", thought, {})]
    assert transcript.find(history, said_after(transcript, "hi"), "").reply == Reply("yes", End.WORDS, 1)


@pytest.mark.parametrize(
    ("words", "entries", "partial", "reply"),
    [
        ("3", ["u: 2", "a: two", "u: 3", "a: three"], "th", "three"),  # a window
        ("3", ["u: 2", "a: two", "u: 3", "a: three"], "x", "three"),  # said once alone: no earlier one can be meant
        ("3", ["a: three"], "three", "three"),  # its latest entry alone
        ("3", ["a: three"], "th", None),
        ("3", ["a: three"], "", None),
        ("2", ["u: 2", "a: two"], "two", "two"),  # the second of two windows of the same words
        ("2", ["u: 2", "a: two"], "", None),
        ("2", ["u: 2", "a: two"], "more", None),
        ("3\n", ["u: 1", "a: one", "u: 2", "a: two", "u: 3", "a: three"], "th", "three"),  # stored in another form
        ("4", ["u: 1", "a: one", "u: 2", "a: two", "u: 3", "a: three"], "", None),
    ],
)
def test_an_answer_in_a_history_that_proves_nothing(
    words: str, entries: list[str], partial: str, reply: str | None
) -> None:
    transcript = Transcript({})
    found = transcript.find(chat(*entries), said_after(transcript, words, ("1", "one"), ("2", "two")), partial)
    assert found.sight is Sight.ODD
    assert (None if found.reply is None else found.reply.text) == reply


def test_what_stands_in_a_history_that_proves_nothing_may_have_come_before_the_resume() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", ("hi", "wait"))
    system = Message("system", "Be brief.", {})
    assert transcript.find([system, *chat("u: hi", "a: wait", "t: x")], said, "") == Found(Sight.ODD, None)
    found = transcript.find([system, *chat("u: hi", "a: wait", "t: x", "a: done")], said, "do")
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ODD, "done")


def test_how_often_each_message_was_accepted() -> None:
    transcript = Transcript({key_of("x"): 1})
    for words, is_certain in (("x", True), (None, True), ("y", False)):
        transcript.say(words).is_certain = is_certain
    assert transcript.counts == {key_of("x"): 2, key_of(""): 1}
    assert Transcript(None).counts is None


def test_what_was_heard_behind_the_last_message_with_words() -> None:
    transcript = Transcript({})
    assert transcript.heard_before(None) == NOTHING_HEARD
    assert Transcript({key_of("x"): 1}).heard_before(None) is None
    said_after(transcript, "", ("x", "a b"))
    said = transcript.latest
    assert said is not None
    transcript.hear(said, "c", whole=True)
    transcript.hear(said, "cd", whole=True)  # the latest counts
    tail = transcript.heard_before(None)
    assert tail is not None
    assert (tail.whole, tail.size) == (True, 4)
    assert tail.begins("abcd")
    assert not tail.begins("abc")
    assert not tail.begins("abcx")
    transcript.say("next")
    transcript.hear(said, "other", whole=True)  # of an earlier message nothing more is heard
    assert transcript.heard_before(transcript.latest) == tail
    assert transcript.heard_before(None) == NOTHING_HEARD._replace(whole=False)


def test_a_message_behind_an_answer_that_nobody_knows() -> None:
    """A process was killed while it was told the answer to "x"; the next one was, as it sent "y"."""
    transcript = Transcript({key_of("x"): 1})
    said = transcript.say("y")
    for entries, sight in (
        (["u: x", "a: one", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one", "u: y", "a: two"], Sight.ARRIVED),
        (["u: x", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one"], Sight.ABSENT),
        (["u: x"], Sight.ODD),  # it may lag behind the answer, and then behind this message too
        (["u: x", "a: one", "u: z"], Sight.ODD),
        (["u: z", "a: one", "u: y"], Sight.ODD),
        ([], Sight.LAGS),
    ):
        assert transcript.find(chat(*entries), said, "").sight is sight, entries


def test_a_message_that_was_not_accepted_is_forgotten() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "y", ("x", "one"))
    assert transcript.has(said)
    transcript.take_back(said)
    transcript.take_back(said)
    assert not transcript.has(said)
    assert transcript.latest is not said


def test_a_run_of_others_is_read_once_before_anything_is_said() -> None:
    transcript = Transcript(None)
    transcript.saw([])
    assert transcript.heard_before(None) is None
    transcript.saw(chat("u: hi", "a: one"))
    said = transcript.say("x")
    for entries, sight in (
        (["u: hi", "a: one", "u: x"], Sight.ARRIVED),
        (["u: hi", "a: one"], Sight.ABSENT),
        (["u: hi"], Sight.LAGS),
        (["u: ho", "a: one"], Sight.ODD),
    ):
        assert transcript.find(chat(*entries), said, "").sight is sight


def test_what_was_seen_while_the_run_rested_stands_in_every_later_reading() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "x", ("hi", "one"))
    transcript.saw(chat("u: hi", "a: one"))  # our message is not in it: it may lag
    assert transcript.find(chat("u: hi", "a: one"), said, "").sight is Sight.ABSENT
    transcript.saw(chat("u: hi", "a: one", "t: 7", "u: x"))
    assert transcript.find(chat("u: hi", "a: one", "t: 7", "u: x", "a: two"), said, "").sight is Sight.ARRIVED
    assert transcript.find(chat("u: hi", "a: one", "u: x"), said, "").sight is Sight.LAGS
    assert transcript.find(chat("u: hi", "a: one", "t: 8", "u: x"), said, "").sight is Sight.ODD


def test_what_stands_for_entries_is_all_of_them() -> None:
    one, two, three = (Message("user", "x", {"id": number}) for number in range(3))
    assert fingerprint([one, two]) == fingerprint([one, two])
    assert len({fingerprint(entries) for entries in ([one], [two], [one, two], [two, one], [one, two, three])}) == 5


def test_words_stand_for_themselves_in_any_process() -> None:
    assert key_of(None) == key_of("")
    assert key_of("x") != key_of("x\n")
    assert key_of("\ud800") == key_of("?")
    assert squeezed(" a\n b ") == "ab"


def test_what_was_heard_of_a_message_that_is_taken_back_is_forgotten() -> None:
    transcript = Transcript({})
    transcript.hear(transcript.say("x"), "o", whole=False)
    transcript.take_back(transcript.latest or Said(""))
    assert transcript.find(chat(), transcript.say("y"), "").sight is Sight.ABSENT


def test_where_words_belong_behind_a_message_of_unknown_fate_is_not_known() -> None:
    transcript = Transcript({})
    for words in ("x", ""):
        transcript.hear(transcript.say(words), "o", whole=True)
    assert transcript.find(chat("u: x", "a: oo"), transcript.say("y"), "").sight is Sight.ODD


def test_an_answer_to_a_resume_may_stand_in_one_entry_with_what_came_before() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", ("x", "one"))
    said.is_certain = True
    assert transcript.find(chat("u: x", "a: one two"), said, "") == (Sight.ARRIVED, Reply("two", End.WORDS, 1))
    assert transcript.find(chat("u: x", "a: o n e"), said, "").sight is Sight.ABSENT
