"""Recovery from the history (section 6 of the contract): cuts, uncertain sessions, ``reconcile``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Scripted,
    assert_accepted,
    assistant,
    broken_off,
    connect,
    history,
    kinds,
    methods,
    now,
    refused,
    said,
    streamed,
    text_of,
    user,
)
from tests.support.raw_server import fin, rst
from toolhouse_async import (
    OutcomeUnknownError,
    RecoveryPolicy,
    ResumeUncertainError,
    Session,
    StreamInterruptedError,
    StreamRecovered,
    TurnResult,
)
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

GONE = broken_off(b"", fin)
DONE = streamed(said("done"))
CUT = broken_off(streamed(said("Hello "), ends=False), rst)
ALONE = history(user("hi"))
WHOLE = history(user("hi"), assistant("Hello you"))


async def run(server: Scripted, **options: Any) -> TurnResult:
    async with connect(server, **options) as toolhouse:
        return await toolhouse.run(AGENT, "hi")


# Cut streams


async def test_a_cut_answer_is_healed_with_what_was_missing() -> None:
    async with Scripted(post=[CUT], get=repeat(WHOLE)) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi")]
    assert kinds(events) == ["TurnStarted", "TextDelta", "StreamRecovered", "TextDelta", "TurnCompleted"]
    assert StreamRecovered("Hello you", "you") in events
    assert text_of(events) == "Hello you"
    assert (events[-1].result.text, events[-1].result.recovered) == ("Hello you", True)
    assert_accepted(server, "POST hi")


async def test_the_historys_text_stands_where_the_partial_is_no_prefix() -> None:
    other = history(user("hi"), assistant("Good day"))
    async with Scripted(post=[CUT], get=repeat(other)) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi")]
    assert text_of(events) == "Hello "
    assert next(event.text for event in events if isinstance(event, StreamRecovered)) == "Good day"
    assert (events[-1].result.text, events[-1].result.recovered) == ("Good day", True)


@pytest.mark.parametrize(
    ("healed", "words"),
    [("Hello you", ["Hello ", "you"]), ("Good day", ["Hello ", "\n\nGood day"]), ("HELLO ", ["Hello ", "\n\nHELLO "])],
)
async def test_a_text_stream_has_all_words_of_a_healed_answer(healed: str, words: list[str]) -> None:
    whole = history(user("hi"), assistant(healed))
    async with Scripted(post=[CUT], get=repeat(whole)) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        assert [each async for each in turn.text_stream] == words
        assert (await turn.result()).text == healed


async def test_an_answer_is_accepted_once_it_has_been_quiet() -> None:
    growing = [history(user("hi"), assistant("Hello you"[:length])) for length in range(1, 9)]
    async with Scripted(post=[CUT], get=chain([ALONE], growing, repeat(WHOLE))) as server:
        started = now()
        result = await run(server, recovery=RecoveryPolicy(quiet=25, deadline=1000))
        assert now() - started >= 25
    assert result.text == "Hello you"
    assert_accepted(server, "POST hi")


async def test_an_answer_that_never_comes_is_an_interruption_at_the_deadline() -> None:
    async with Scripted(post=[CUT], get=repeat(ALONE)) as server:
        started = now()
        with pytest.raises(StreamInterruptedError) as caught:
            await run(server)
        assert now() - started == pytest.approx(120, abs=12)
    assert caught.value.partial.text == "Hello "
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("status", [401, 404])
async def test_a_history_that_cannot_be_read_is_an_interruption(status: int) -> None:
    async with Scripted(post=[CUT], get=repeat(refused(status))) as server:
        with pytest.raises(StreamInterruptedError) as caught:
            await run(server)
    assert caught.value.partial.text == "Hello "
    assert_accepted(server, "POST hi")


async def test_reads_that_fail_in_passing_are_tolerated() -> None:
    async with Scripted(post=[CUT], get=chain([refused(502), refused(429), GONE], repeat(WHOLE))) as server:
        assert (await run(server)).text == "Hello you"
    assert_accepted(server, "POST hi")


async def test_an_earlier_answer_to_the_same_words_is_not_taken_for_this_one() -> None:
    earlier = history(user("hi"), assistant("Welcome"))
    both = history(user("hi"), assistant("Welcome"), user("hi"), assistant("Hello again"))
    async with Scripted(put=[CUT], get=chain([earlier] * 4, repeat(both))) as server, connect(server) as toolhouse:
        result = await toolhouse.session(AGENT, run_id=RUN).send("hi")
    assert result.text == "Hello again"
    assert_accepted(server, "PUT hi")


async def test_an_earlier_answer_alone_is_an_interruption() -> None:
    earlier = history(user("hi"), assistant("Welcome"))
    async with Scripted(put=[CUT], get=repeat(earlier)) as server, connect(server) as toolhouse:
        with pytest.raises(StreamInterruptedError):
            await toolhouse.session(AGENT, run_id=RUN).send("hi")
    assert_accepted(server, "PUT hi")


async def test_a_job_that_runs_joins_the_job_flow() -> None:
    running = history(user("hi"), job=JOB)
    async with (
        Scripted(post=[CUT], get=chain([running] * 3, repeat(WHOLE)), put=[streamed(said(", done"))]) as server,
        connect(server) as toolhouse,
    ):
        events = [event async for event in toolhouse.stream(AGENT, "hi")]
    assert "JobFinished" in kinds(events)
    assert events[-1].result.text == "Hello you, done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_cut_answer_that_named_its_job_joins_the_job_flow() -> None:
    cut = broken_off(streamed(said("Hello "), job=JOB, ends=False), fin)
    async with Scripted(post=[cut], get=repeat(WHOLE), put=[streamed(said(", done"))]) as server:
        assert (await run(server)).text == "Hello you, done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_cut_resume_is_healed_behind_the_history_that_ended_the_wait() -> None:
    over = history(user("hi"), assistant("wait"))
    resumed = history(user("hi"), assistant("wait"), user(""), assistant("Hello you"))
    async with Scripted(
        post=[streamed(said("wait "), job=JOB)], get=chain([over], repeat(resumed)), put=[CUT]
    ) as server:
        result = await run(server)
    assert (result.text, result.recovered) == ("wait Hello you", True)
    assert_accepted(server, "POST hi", "PUT ")


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("delay", [0.0, 20.0])
@pytest.mark.parametrize("cut", ["fin", "rst", "silence"])
async def test_a_worker_that_goes_on_behind_a_cut_is_heard_to_the_end(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session, cut: Any, partial: bool, delay: float
) -> None:
    emulator.history_partial = partial
    emulator.history_delay = delay
    emulator.faults.add(method="POST", cut=cut, cut_after=70)

    @emulator.worker(AGENT)
    async def worker(ctx):
        for number in range(8):
            yield ctx.text(f"word{number} ")
            await asyncio.sleep(2)

    result = await session.send("hi")
    assert result.text == "".join(f"word{number} " for number in range(8))
    assert result.recovered
    assert_accepted(server, "POST hi")


# Uncertain sessions


@pytest.fixture
def uncertain() -> Any:
    """Sends a message on a known run whose outcome stays unknown."""

    async def send(session: Session) -> None:
        with pytest.raises(OutcomeUnknownError):
            await session.send("two")

    return send


BEFORE = history(user("hi"), assistant("done"))
ARRIVED = history(user("hi"), assistant("done"), user("two"), assistant("second"))


async def test_reconcile_returns_the_answer_that_arrived(uncertain: Any) -> None:
    async with Scripted(post=[DONE], put=[GONE, DONE], get=repeat(ARRIVED)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("hi")
        await uncertain(session)
        result = await session.reconcile()
        assert result is not None
        assert (result.text, result.recovered) == ("second", True)
        await session.send("three")
    assert_accepted(server, "POST hi", "PUT two", "PUT three")


async def test_after_an_unknown_outcome_the_next_turn_reads_before_it_sends(uncertain: Any) -> None:
    async with Scripted(post=[DONE], put=[GONE, DONE], get=repeat(BEFORE)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("hi")
        await uncertain(session)
        await session.send("two")
    assert methods(server).startswith("POST PUT GET")
    assert methods(server).count("PUT") == 2


async def test_the_next_turn_raises_again_if_the_message_did_arrive(uncertain: Any) -> None:
    async with Scripted(post=[DONE], put=[GONE], get=repeat(ARRIVED)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("hi")
        await uncertain(session)
        with pytest.raises(OutcomeUnknownError):
            await session.send("two")
    assert_accepted(server, "POST hi", "PUT two")


async def test_reconcile_returns_none_where_the_message_provably_did_not_arrive(uncertain: Any) -> None:
    async with Scripted(post=[DONE], put=[GONE, DONE], get=repeat(BEFORE)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("hi")
        await uncertain(session)
        assert await session.reconcile() is None
        assert (await session.send("two")).text == "done"
    assert methods(server).count("PUT") == 2


async def test_reconcile_raises_while_nobody_can_know(uncertain: Any) -> None:
    async with Scripted(post=[GONE], get=repeat(refused(500))) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await uncertain(session)
        with pytest.raises(OutcomeUnknownError):
            await session.reconcile()
    assert_accepted(server, "POST two")


async def test_a_resume_of_which_nobody_knows_is_resume_uncertain() -> None:
    over = history(user("hi"), assistant("wait"))
    async with Scripted(post=[streamed(job=JOB)], put=[GONE], get=chain([over], repeat(refused(500)))) as server:
        with pytest.raises(ResumeUncertainError) as caught:
            await run(server)
    assert caught.value.token is not None
    assert methods(server).count("PUT") == 1


@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "not accepted"])
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "unrecorded"])
@pytest.mark.parametrize("fault", [{"status": 502}, {"cut": "fin"}, {"cut": "rst"}], ids=["502", "FIN", "RST"])
async def test_a_resume_is_never_accepted_twice(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session, fault: Any, recorded: bool, accept: bool
) -> None:
    emulator.history_empty_messages = recorded
    emulator.faults.add(method="PUT", accept=accept, **fault)

    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message == "hi":
            yield ctx.background(asyncio.sleep, 20)
        yield ctx.text(f"[{ctx.message}]")

    if accept and recorded:
        assert (await session.send("hi")).text == "[hi][]"
    else:
        with suppress(ResumeUncertainError):
            assert (await session.send("hi")).text == "[hi][]"
    assert [request.method for request in server.accepted].count("PUT") <= 1
