"""An answer that was cut, and what the history has of it."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    RUN,
    Reply,
    Scripted,
    assert_accepted,
    assistant,
    broken_off,
    connect,
    falls_silent,
    history,
    kinds,
    methods,
    now,
    refused,
    text_of,
    user,
)
from tests.exactly_once.support import ENDS, answer, cut, over_time
from toolhouse_async import (
    Event,
    IdleTimeoutError,
    RecoveryPolicy,
    StreamInterruptedError,
    StreamRecovered,
    TextDelta,
    Timeouts,
)

TOOL = {"role": "tool", "content": "4 columns"}
ANSWERED = history(user("hi"), assistant("Hello you"))
UNANSWERED = history(user("hi"))


async def events_of(server: Scripted, message: str | None = "hi", **options: Any) -> list[Event]:
    async with connect(server, **options.pop("client", {})) as toolhouse:
        return [event async for event in toolhouse.stream(AGENT, message, **options)]


async def interrupted(server: Scripted, **options: Any) -> StreamInterruptedError:
    """Run a turn that ends as an interruption, and say how."""
    with pytest.raises(StreamInterruptedError) as caught:
        await events_of(server, **options)
    error = caught.value
    assert (error.run_id, error.safe_to_retry) == (RUN, False)  # it was accepted: sending again would double it
    assert error.partial is not None
    return error


# What is found


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_the_rest_comes_as_words_of_its_own(how: str, family: str) -> None:
    async with Scripted(post=[cut("Hel", "lo", how=how, family=family)], get=repeat(ANSWERED)) as server:
        events = await events_of(server, format=family)
    assert kinds(events)[:2] == ["TurnStarted", "TextDelta"]
    assert [e for e in events if isinstance(e, StreamRecovered)] == [StreamRecovered("Hello you", " you")]
    assert text_of(events) == "Hello you"
    assert TextDelta(" you") in events
    assert (events[-1].result.text, events[-1].result.recovered) == ("Hello you", True)
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_nothing_had_come_yet(family: str) -> None:
    async with Scripted(post=[cut(family=family)], get=repeat(ANSWERED)) as server:
        events = await events_of(server, format=family)
    assert (text_of(events), events[-1].result.text) == ("Hello you", "Hello you")
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_all_had_come_but_the_end(family: str) -> None:
    async with Scripted(post=[cut("Hello you", family=family)], get=repeat(ANSWERED)) as server:
        events = await events_of(server, format=family)
    assert (text_of(events), events[-1].result.text) == ("Hello you", "Hello you")
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_other_words_in_the_history_stand_and_are_not_spliced(family: str) -> None:
    async with Scripted(post=[cut("Hullo", family=family)], get=repeat(ANSWERED)) as server:
        events = await events_of(server, format=family)
    assert [e.text for e in events if isinstance(e, StreamRecovered)] == ["Hello you"]
    assert text_of(events) == "Hullo"
    assert (events[-1].result.text, events[-1].result.recovered) == ("Hello you", True)
    assert events[-1].result.rounds == ("Hello you",)
    assert_accepted(server, "POST hi")


async def test_half_a_line_is_healed() -> None:
    half = answer("ndjson", "Hello", " you")[:-16]
    async with Scripted(post=[broken_off(half, ENDS["fin"])], get=repeat(ANSWERED)) as server:
        events = await events_of(server)
    assert (text_of(events), events[-1].result.text) == ("Hello you", "Hello you")
    assert events[-1].result.malformed == 0
    assert_accepted(server, "POST hi")


async def test_a_silent_answer_is_healed_too() -> None:
    async with Scripted(post=[falls_silent(answer("ndjson", "Hello", ends=False))], get=repeat(ANSWERED)) as server:
        events = await events_of(server, client={"timeouts": Timeouts(idle=30)})
    assert (text_of(events), events[-1].result.recovered) == ("Hello you", True)
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("before", [[], [user("Begin.")]], ids=["not recorded", "recorded in other words"])
async def test_a_start_without_a_message(before: list[Any]) -> None:
    """A fresh run's history was empty just before: what stands in it is the answer."""
    found = history(*before, assistant("Hello you"))
    async with Scripted(post=[cut("Hello")], get=repeat(found)) as server:
        events = await events_of(server, None)
    assert (text_of(events), events[-1].result.recovered) == ("Hello you", True)
    assert_accepted(server, "POST")


async def test_words_of_several_entries_are_one_answer() -> None:
    found = history(user("hi"), assistant("Hello "), TOOL, assistant("you"))
    async with Scripted(post=[cut("Hello ")], get=repeat(found)) as server:
        assert (await events_of(server))[-1].result.text == "Hello you"
    assert_accepted(server, "POST hi")


# When it is believed


async def test_an_answer_that_still_grows_is_waited_for() -> None:
    growing = [(at, history(user("hi"), assistant("Hello you"[:n]))) for at, n in ((0, 1), (6, 5), (12, 7), (18, 9))]
    async with Scripted(post=[cut("H")], get=over_time(*growing)) as server:
        started = now()
        assert (await events_of(server))[-1].result.text == "Hello you"
        assert 18 + 10 <= now() - started <= 18 + 10 + 2 * 12
    assert_accepted(server, "POST hi")


async def test_quiet_is_the_users_to_say() -> None:
    async with Scripted(post=[cut("H")], get=repeat(ANSWERED)) as server:
        started = now()
        await events_of(server, client={"recovery": RecoveryPolicy(quiet=40)})
        assert 40 <= now() - started <= 60
    assert_accepted(server, "POST hi")


async def test_an_answer_that_comes_late_is_found() -> None:
    async with Scripted(post=[cut("Hello")], get=over_time((0, UNANSWERED), (100, ANSWERED))) as server:
        assert (await events_of(server))[-1].result.text == "Hello you"
    assert_accepted(server, "POST hi")


async def test_an_answer_that_never_comes() -> None:
    async with Scripted(post=[cut("Hello")], get=repeat(UNANSWERED)) as server:
        started = now()
        assert (await interrupted(server)).partial.text == "Hello"
        assert 120 <= now() - started <= 140
    assert_accepted(server, "POST hi")


async def test_the_deadline_is_the_users_to_say() -> None:
    async with Scripted(post=[cut("Hello")], get=repeat(UNANSWERED)) as server:
        started = now()
        await interrupted(server, client={"recovery": RecoveryPolicy(deadline=20)})
        assert 20 <= now() - started <= 35
    assert_accepted(server, "POST hi")


async def test_an_answer_that_changes_for_ever_is_not_believed() -> None:
    steps = [(n * 1.0, history(user("hi"), assistant("Hello" + "!" * n))) for n in range(200)]
    async with Scripted(post=[cut("Hello")], get=over_time(*steps)) as server:
        assert (await interrupted(server)).partial.text == "Hello"
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize(
    "found",
    [
        history(user("hi"), TOOL),
        history(user("hi"), assistant("")),
        history(user("hi"), user("somebody else's"), assistant("Hello them")),
        history(),
    ],
    ids=["tool", "no words", "another's", "empty"],
)
async def test_what_is_no_answer_of_ours(found: bytes) -> None:
    async with Scripted(post=[cut("Hello")], get=repeat(found)) as server:
        assert (await interrupted(server)).partial.text == "Hello"
    assert_accepted(server, "POST hi")


async def test_an_answer_that_ends_in_a_tool_waits_to_be_resumed_if_nothing_follows() -> None:
    waits = history(user("hi"), assistant("Hello you"), TOOL)
    done = history(user("hi"), assistant("Hello you"), TOOL, user(""), assistant("Done"))
    async with Scripted(
        post=[cut("Hello")], get=over_time((0, waits), (1000, done)), put=[answer("ndjson", "Done")]
    ) as server:
        started = now()
        async with connect(server) as toolhouse:
            result = await toolhouse.run(AGENT, "hi")
        assert now() - started >= 120  # a worker may think for long about what a tool returned
    assert (result.text, result.recovered) == ("Hello youDone", 1)
    assert_accepted(server, "POST hi", "PUT ")


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_history_that_may_not_be_read(status: int) -> None:
    async with Scripted(post=[cut("Hello")], get=repeat(refused(status))) as server:
        started = now()
        error = await interrupted(server)
        assert error.partial.text == "Hello"
        assert getattr(error.__cause__, "status", None) == status
        assert now() - started < 30  # a run this young may not be known everywhere yet
    assert_accepted(server, "POST hi")


async def test_faults_of_reading_are_passed_over() -> None:
    faults: list[Reply] = [refused(500), refused(503), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", cut()]
    async with Scripted(post=[cut("Hello")], get=[*faults, *[ANSWERED] * 30]) as server:
        assert (await events_of(server))[-1].result.text == "Hello you"
    assert_accepted(server, "POST hi")


async def test_a_history_that_is_never_readable() -> None:
    async with Scripted(post=[cut("Hello")], get=repeat(refused(500))) as server:
        started = now()
        assert (await interrupted(server)).partial.text == "Hello"
        assert 100 <= now() - started <= 140
    assert_accepted(server, "POST hi")


async def test_without_recovery_nothing_is_read() -> None:
    async with Scripted(post=[cut("Hel", "lo")]) as server:
        assert (await interrupted(server, recover=False)).partial.text == "Hello"
    assert methods(server) == "POST"
    assert_accepted(server, "POST hi")


async def test_without_recovery_a_silence_says_so() -> None:
    async with Scripted(post=[falls_silent(answer("ndjson", "Hello", ends=False))]) as server:
        error = await interrupted(server, recover=False, client={"timeouts": Timeouts(idle=30)})
    assert isinstance(error, IdleTimeoutError)
    assert error.partial.text == "Hello"
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_every_whole_character_that_came_is_delivered(how: str, family: str) -> None:
    """Cut at every byte of the body; half a character or half a line is never shown."""
    words = ("Wör", "k \N{HOURGLASS}")
    whole = answer(family, *words)
    head = whole.index(b"\r\n\r\n") + 4
    seen: list[str] = []
    for n in range(head, len(whole)):
        async with Scripted(post=[broken_off(whole[:n], ENDS[how])]) as server:
            seen.append((await interrupted(server, recover=False, format=family)).partial.text)
        assert_accepted(server, "POST hi")
    if family == "ndjson":
        assert list(dict.fromkeys(seen)) == ["", "Wör", "Wörk \N{HOURGLASS}"]
    else:
        assert list(dict.fromkeys(seen)) == ["Wörk \N{HOURGLASS}"[:n] for n in range(7)]
    for n, text in enumerate(seen):
        if text != seen[n - 1] and n:
            assert text.startswith(seen[n - 1])
