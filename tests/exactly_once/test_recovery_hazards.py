"""What could be mistaken for the answer: earlier turns', shifted and shortened histories, and jobs in between."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Reply,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    falls_silent,
    history,
    kinds,
    text_of,
    user,
)
from tests.exactly_once.support import answer, cut, lost, over_time
from toolhouse_async import (
    JobWaitTimeoutError,
    RecoveryPolicy,
    ResumeUncertainError,
    StreamInterruptedError,
    StreamRecovered,
    ToolhouseError,
    TurnTimeoutError,
)

TOOL = {"role": "tool", "content": "4 columns"}
SYSTEM = {"role": "system", "content": "Be brief."}
BEFORE = [user("go"), assistant("Step one"), TOOL]
RUNNING = history(user("go"), job=JOB)


# The same words, said before


async def second(server: Scripted, first: str = "again", then: str = "again") -> Any:
    """The second turn of a session: its result or its error."""
    async with connect(server) as toolhouse, toolhouse.session(AGENT) as session:
        await session.send(first)
        try:
            return await session.send(then)
        except ToolhouseError as error:
            return error


@pytest.mark.parametrize("partial", ["", "The", "The answer is on", "Nay"])
@pytest.mark.parametrize(
    "found",
    [
        history(user("again"), assistant("The answer is one")),
        history(user("again"), assistant("The answer is one"), user("again")),
        history(user("again"), assistant("The answer is one"), user("again"), assistant("")),
    ],
    ids=["message late", "answer late", "answer empty"],
)
async def test_an_earlier_answer_to_the_same_words_is_never_taken(found: bytes, partial: str) -> None:
    """Also where it begins like what had come: the earlier words were answered, ours are not in the history."""
    async with Scripted(post=[answer("ndjson", "The answer is one")], put=[cut(partial)], get=repeat(found)) as server:
        outcome = await second(server)
    assert isinstance(outcome, StreamInterruptedError), outcome
    assert outcome.partial.text == partial
    assert_accepted(server, "POST again", "PUT again")


@pytest.mark.parametrize("partial", ["The", "The answer is tw"])
async def test_the_later_answer_to_the_same_words_is_found(partial: str) -> None:
    late = history(user("again"), assistant("The answer is one"), user("again"))
    found = history(user("again"), assistant("The answer is one"), user("again"), assistant("The answer is two"))
    get = over_time((0, late), (30, found))
    async with Scripted(post=[answer("ndjson", "The answer is one")], put=[cut(partial)], get=get) as server:
        assert (await second(server)).text == "The answer is two"
    assert_accepted(server, "POST again", "PUT again")


async def test_words_of_a_conversation_that_this_process_did_not_begin() -> None:
    """The session knows a run id alone: the words may have been said before it."""
    found = history(user("again"), assistant("The answer is one"))
    async with Scripted(put=[cut("")], get=repeat(found)) as server, connect(server) as toolhouse:
        with pytest.raises(StreamInterruptedError):
            await toolhouse.session(AGENT, run_id=RUN).send("again")
    assert_accepted(server, "PUT again")


async def test_new_words_need_no_partial_text() -> None:
    found = history(user("one"), assistant("First"), user("two"), assistant("Second"))
    async with Scripted(post=[answer("ndjson", "First")], put=[cut("")], get=repeat(found)) as server:
        assert (await second(server, "one", "two")).text == "Second"
    assert_accepted(server, "POST one", "PUT two")


# A job, and the length that its last poll read


async def through_a_job(get: Any, put: Reply, **options: Any) -> tuple[Any, Scripted]:
    """A turn whose POST starts a job; what the resume meets is ``put``."""
    async with (
        Scripted(post=[answer("ndjson", "Step one", job=JOB)], put=[put], get=get) as server,
        connect(server, **options) as toolhouse,
    ):
        try:
            return await toolhouse.run(AGENT, "go"), server
        except ToolhouseError as error:
            return error, server


LATER: dict[str, list[Any]] = {
    "as ever": [*BEFORE, user(""), assistant("Step two")],
    "empty message not recorded": [*BEFORE, assistant("Step two")],
    "recorded in other words": [*BEFORE, user("(continue)"), assistant("Step two")],
    "shifted by a system entry": [SYSTEM, *BEFORE, user(""), assistant("Step two")],
    "shortened to three": [TOOL, user(""), assistant("Step two")],
    "shortened to the last": [user(""), assistant("Step two")],
}
NOT_THERE: dict[str, list[Any]] = {
    "unchanged": BEFORE,
    "shortened": [assistant("Step one"), TOOL],
    "shortened to one": [assistant("Step one")],
    "summed up": [{"role": "assistant", "content": "Summary: step one was done"}],
    "summed up with the question": [user("go"), assistant("Step one was done")],
    "shifted": [SYSTEM, SYSTEM, *BEFORE],
    "shifted and shortened": [SYSTEM, user("go"), assistant("Step one")],
    "message alone": [*BEFORE, user("")],
    "gone": [],
}


@pytest.mark.parametrize("put", [cut("Step "), cut("Step two"), cut(""), lost()], ids=["half", "all", "head", "lost"])
@pytest.mark.parametrize("case", LATER)
async def test_the_answer_to_the_resume(case: str, put: Reply) -> None:
    """Found, or, where the history no longer stands as it did, at least not mistaken."""
    outcome, server = await through_a_job(chain([RUNNING, history(*BEFORE)], repeat(history(*LATER[case]))), put)
    moved = case.startswith(("shifted", "shortened", "recorded in other words"))
    if isinstance(outcome, ToolhouseError):
        assert moved
        assert isinstance(outcome, StreamInterruptedError | ResumeUncertainError)
        assert outcome.safe_to_retry is not True
    else:
        assert outcome.text == "Step oneStep two"
    assert_accepted(server, "POST go", "PUT ")


@pytest.mark.parametrize("put", [cut("Step "), cut(""), lost()], ids=["half", "head", "lost"])
@pytest.mark.parametrize("case", NOT_THERE)
async def test_no_answer_to_the_resume(case: str, put: Reply) -> None:
    get = chain([RUNNING, history(*BEFORE)], repeat(history(*NOT_THERE[case])))
    outcome, server = await through_a_job(get, put, recovery=RecoveryPolicy(absence=None))
    assert isinstance(outcome, StreamInterruptedError | ResumeUncertainError), outcome
    assert outcome.safe_to_retry is not True
    if isinstance(outcome, StreamInterruptedError):
        assert outcome.partial.text in ("Step one", "Step oneStep ")
    assert_accepted(server, "POST go", "PUT ")


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("partial", ["", "Step", "Step one"])
async def test_a_cut_answer_with_a_job_is_healed_once_the_job_is_over(partial: str, family: str) -> None:
    over = [user("go"), assistant("Step one"), TOOL]
    async with (
        Scripted(
            post=[cut(partial, job=JOB, family=family)],
            get=over_time((0, history(user("go"), job=JOB)), (20, history(*over))),
            put=[answer(family, ", step two")],
        ) as server,
        connect(server) as toolhouse,
    ):
        events = [event async for event in toolhouse.stream(AGENT, "go", format=family)]
    names = kinds(events)
    assert text_of(events) == "Step one, step two"
    result = events[-1].result
    assert (result.text, result.rounds) == ("Step one, step two", ("Step one", ", step two"))
    assert [job.job_id for job in result.jobs] == [JOB]
    recovered = [event for event in events if isinstance(event, StreamRecovered)]
    assert recovered == [StreamRecovered("Step one", "Step one".removeprefix(partial))]
    assert names.index("JobFinished") < names.index("StreamRecovered") < names.index("TurnResumed")
    assert_accepted(server, "POST go", "PUT ")


async def test_a_job_that_only_the_history_tells_of_is_joined() -> None:
    """It started behind the head of an answer that was cut."""
    async with (
        Scripted(
            post=[cut("Step")],
            get=over_time((0, history(user("go"), job=JOB)), (20, history(*BEFORE))),
            put=[answer("ndjson", ", step two")],
        ) as server,
        connect(server) as toolhouse,
    ):
        events = [event async for event in toolhouse.stream(AGENT, "go")]
    assert text_of(events) == events[-1].result.text == "Step one, step two"
    assert kinds(events).count("JobStarted") == 1
    assert_accepted(server, "POST go", "PUT ")


async def test_a_cut_answer_of_a_job_and_no_words_is_resumed_once_the_job_is_over() -> None:
    async with (
        Scripted(
            post=[cut(job=JOB)],
            get=over_time((0, RUNNING), (20, history(user("go"), TOOL))),
            put=[answer("ndjson", "Done")],
        ) as server,
        connect(server) as toolhouse,
    ):
        result = await toolhouse.run(AGENT, "go")
    assert (result.text, result.recovered) == ("Done", 0)
    assert_accepted(server, "POST go", "PUT ")


async def test_a_cut_answer_with_a_job_that_the_history_does_not_show_is_no_success() -> None:
    """A history without the message lags, and may show words of the answer later."""
    async with (
        Scripted(post=[cut(job=JOB)], get=over_time((0, RUNNING), (20, history()))) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(StreamInterruptedError) as caught:
            await toolhouse.run(AGENT, "go")
    assert caught.value.safe_to_retry is False
    assert_accepted(server, "POST go")


async def test_the_answer_to_the_same_words_of_unknown_fate_is_not_taken_for_this_one() -> None:
    lags = history(user("go"), assistant("begun"), user("yes"), assistant("one"))
    async with (
        Scripted(post=[answer("ndjson", "begun")], put=[falls_silent(), cut()], get=repeat(lags)) as server,
        connect(server) as toolhouse,
    ):
        session = toolhouse.session(AGENT)
        await session.send("go")
        with pytest.raises(TurnTimeoutError):
            await session.send("yes", timeout=5)
        with pytest.raises(StreamInterruptedError) as caught:
            await session.send("yes")
    assert caught.value.partial.text == ""


async def test_without_recovery_a_cut_answer_with_a_job_is_an_interruption() -> None:
    async with Scripted(post=[cut("Step", job=JOB)]) as server, connect(server) as toolhouse:
        with pytest.raises(StreamInterruptedError) as caught:
            await toolhouse.run(AGENT, "go", recover=False)
    assert caught.value.partial.text == "Step"
    assert_accepted(server, "POST go")


async def test_a_cut_answer_whose_job_never_ends() -> None:
    async with Scripted(post=[cut("Step", job=JOB)], get=repeat(RUNNING)) as server, connect(server) as toolhouse:
        with pytest.raises(JobWaitTimeoutError) as caught:
            await toolhouse.run(AGENT, "go")
    assert caught.value.token.job_id == JOB
    assert_accepted(server, "POST go")


async def test_a_detached_turn_whose_answer_is_cut() -> None:
    async with Scripted(post=[cut("Step", job=JOB)], get=repeat(RUNNING)) as server, connect(server) as toolhouse:
        with pytest.raises(StreamInterruptedError) as caught:
            await toolhouse.run(AGENT, "go", background="detach")
    partial = caught.value.partial
    assert (partial.text, partial.status, partial.token.job_id) == ("Step", "background", JOB)
    assert_accepted(server, "POST go")


# A clean end that was none


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("words", ["Hel", "Hullo"])
async def test_settle_heals_the_same_way(words: str, family: str) -> None:
    found = history(user("go"), assistant("Hello you"))
    async with Scripted(post=[answer(family, words)], get=repeat(found)) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "go", settle=True, format=family)]
    assert (events[-1].result.text, events[-1].result.recovered) == ("Hello you", True)
    assert text_of(events) == ("Hello you" if words == "Hel" else "Hullo")
    assert_accepted(server, "POST go")


async def test_settle_waits_until_the_answer_is_quiet() -> None:
    growing = [(at, history(user("go"), assistant("Hello you"[:n]))) for at, n in ((0, 4), (6, 7), (12, 9))]
    get = over_time(*growing)
    async with Scripted(post=[answer("ndjson", "Hel")], get=get) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "go", settle=True)).text == "Hello you"
    assert_accepted(server, "POST go")


async def test_settle_never_takes_an_earlier_answer_to_the_same_words() -> None:
    found = history(user("again"), assistant("The answer is one"))
    async with (
        Scripted(
            post=[answer("ndjson", "The answer is one")], put=[answer("ndjson", "The answer is two")], get=repeat(found)
        ) as server,
        connect(server) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        await session.send("again")
        assert (await session.send("again", settle=True)).text == "The answer is two"
    assert_accepted(server, "POST again", "PUT again")
