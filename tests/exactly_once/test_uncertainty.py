"""A message of which nobody knows whether it was accepted: nothing is sent before the history was read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
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
    methods,
    now,
    refused,
    streamed,
    user,
)
from tests.exactly_once.support import answer, cut, lost, over_time
from tests.support.answers import unused_port
from toolhouse_async import (
    APIStatusError,
    AsyncToolhouse,
    ClosedError,
    OutcomeUnknownError,
    ResponseTimeoutError,
    ResumeUncertainError,
    ServerError,
    Session,
    SessionBusyError,
    StreamInterruptedError,
    Timeouts,
    ToolhouseError,
    TurnTimeoutError,
    UncertainSessionError,
)

FIRST = [user("one"), assistant("First")]
ARRIVED = history(*FIRST, user("two"), assistant("Second"))
ABSENT = history(*FIRST)
TOOL = {"role": "tool", "content": "4 columns"}


@asynccontextmanager
async def conversation(
    *puts: Reply, get: Iterable[Reply] = (), first: str = "one", **options: Any
) -> AsyncIterator[tuple[Session, Scripted]]:
    """A session that has had its first answer; what its later messages and its reads meet."""
    async with (
        Scripted(post=[answer("ndjson", "First")], put=puts, get=get) as server,
        connect(server, **options) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        await session.send(first)
        yield session, server


async def unknown(session: Session, message: str = "two", **options: Any) -> OutcomeUnknownError:
    with pytest.raises(OutcomeUnknownError) as caught:
        await session.send(message, **options)
    assert (caught.value.safe_to_retry, caught.value.run_id) == (None, RUN)
    return caught.value


# The next turn


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_the_next_turn_reads_first_and_raises_if_the_message_arrived(how: str) -> None:
    async with conversation(lost(how), get=repeat(ARRIVED)) as (session, server):
        await unknown(session)
        with pytest.raises(UncertainSessionError, match="did arrive") as caught:
            await session.send("two")
        assert caught.value.safe_to_retry is True  # it speaks of the second "two", which was not sent
        assert methods(server).startswith("POST PUT GET")
        assert methods(server).count("PUT") == 1
        assert_accepted(server, "POST one", "PUT two")


async def test_the_next_turn_is_sent_if_the_message_did_not_arrive() -> None:
    async with conversation(lost(), answer("ndjson", "Third"), get=repeat(ABSENT)) as (session, server):
        await unknown(session)
        assert (await session.send("three")).text == "Third"
        assert methods(server).startswith("POST PUT GET")
        assert_accepted(server, "POST one", "PUT two", "PUT three")  # the server dropped "two" unread


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_the_next_turn_raises_while_the_history_cannot_be_read(status: int) -> None:
    async with conversation(lost(), get=repeat(refused(status))) as (session, server):
        await unknown(session)
        with pytest.raises(ToolhouseError):
            await session.send("two")
        assert methods(server).count("PUT") == 1
        assert_accepted(server, "POST one", "PUT two")


async def test_the_session_stays_uncertain_until_it_is_known() -> None:
    get = chain([refused(401), refused(401)], repeat(ARRIVED))
    async with conversation(lost(), get=get) as (session, server):
        await unknown(session)
        for _ in range(3):
            with pytest.raises(ToolhouseError):
                await session.send("two")
        result = await session.reconcile()
        assert result is not None
        assert result.text == "Second"
        assert_accepted(server, "POST one", "PUT two")


async def test_once_reconciled_the_conversation_goes_on() -> None:
    async with conversation(lost(), answer("ndjson", "Third"), get=repeat(ARRIVED)) as (session, server):
        await unknown(session)
        assert (await session.reconcile()).text == "Second"
        reads = methods(server).count("GET")
        assert (await session.send("three")).text == "Third"
        assert methods(server).count("GET") == reads
        assert (await session.reconcile()).text == "Third"
        assert_accepted(server, "POST one", "PUT two", "PUT three")


async def test_another_session_on_the_same_run_knows_of_it_too() -> None:
    """The contract says "the session"; the run's other sessions in the client would double the message as well."""
    async with (
        Scripted(put=[lost()], get=repeat(ARRIVED)) as server,
        connect(server) as toolhouse,
    ):
        ours, theirs = (toolhouse.session(AGENT, run_id=RUN) for _ in range(2))
        await unknown(ours)
        with pytest.raises(OutcomeUnknownError):
            await theirs.send("two")
        assert_accepted(server, "PUT two")


# reconcile()


@pytest.mark.parametrize(("shown", "expected"), [(ARRIVED, "Second"), (ABSENT, None)])
async def test_several_who_reconcile_at_once_hear_the_same(shown: Reply, expected: str | None) -> None:
    async with conversation(lost(), get=repeat(shown)) as (session, server):
        await unknown(session)
        found = await asyncio.gather(*(session.reconcile() for _ in range(3)))
        assert [result and result.text for result in found] == [expected] * 3
        assert_accepted(server, "POST one", "PUT two")


@pytest.mark.parametrize("passes", range(12))
async def test_of_a_message_that_is_on_its_way_the_answer_is_waited_for(passes: int) -> None:
    async with conversation(answer("ndjson", "Second")) as (session, server):
        sending = asyncio.create_task(session.send("two"))
        for _ in range(passes + 1):
            await asyncio.sleep(0)
        assert (await session.reconcile()).text == "Second"
        assert (await sending).text == "Second"
        assert_accepted(server, "POST one", "PUT two")


async def test_of_a_first_message_that_is_on_its_way_the_answer_is_waited_for() -> None:
    async with Scripted(post=[answer("ndjson", "First")]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        sending = asyncio.create_task(session.send("one"))
        await asyncio.sleep(0)
        assert (await session.reconcile()).text == "First"
        await sending


async def test_who_reads_a_turn_cannot_wait_for_it() -> None:
    async with conversation(answer("ndjson", "Second")) as (session, _), session.stream("two") as turn:
        with pytest.raises(SessionBusyError):
            await session.reconcile()
        assert (await turn.result()).text == "Second"
        assert (await session.reconcile()).text == "Second"


async def test_a_message_that_another_turn_has_found_absent_is_absent() -> None:
    """What was asked about is "two", and not the message that was sent then."""
    async with conversation(lost(), answer("ndjson", "Third"), get=repeat(ABSENT)) as (session, server):
        await unknown(session)
        sending = asyncio.create_task(session.send("three"))
        await asyncio.sleep(0)
        assert await session.reconcile() is None
        assert (await sending).text == "Third"
        assert (await session.reconcile()).text == "Third"
        assert_accepted(server, "POST one", "PUT two", "PUT three")


async def test_a_message_that_another_turn_has_left_behind_stays_unknown() -> None:
    async with conversation(refused(502), answer("ndjson", "Third"), get=repeat(ABSENT)) as (session, _):
        with pytest.raises(ServerError):
            await session.send("two")
        sending = asyncio.create_task(session.send("three"))
        await asyncio.sleep(0)
        with pytest.raises(OutcomeUnknownError, match="when another was sent"):
            await session.reconcile()
        assert (await sending).text == "Third"
        assert (await session.reconcile()).text == "Third"


@pytest.mark.parametrize("looks", ["reconcile", "send"])
async def test_a_decision_settles_what_is_being_looked_for(looks: str) -> None:
    async with conversation(lost(), answer("ndjson", "Third"), get=repeat(ABSENT)) as (session, server):
        await unknown(session)
        began = now()
        looking = asyncio.create_task(session.reconcile() if looks == "reconcile" else session.send("three"))
        await asyncio.sleep(5)
        assert await session.reconcile(assume="absent") is None
        found = await looking
        assert now() - began < 20
        assert found is None if looks == "reconcile" else found.text == "Third"
        assert_accepted(server, "POST one", "PUT two", *([] if found is None else ["PUT three"]))


async def test_a_session_that_is_certain_has_nothing_to_reconcile() -> None:
    async with conversation() as (session, server):
        assert (await session.reconcile()).text == "First"
        assert methods(server) == "POST"


async def test_reconcile_finds_the_answer() -> None:
    async with conversation(lost(), get=over_time((0, ABSENT), (3, ARRIVED))) as (session, server):
        await unknown(session)
        try:
            result = await session.reconcile()
        except OutcomeUnknownError:
            result = await session.reconcile()
        assert result is not None, "the message arrived a moment later: sending again would double it"
        assert (result.text, result.run_id, result.status) == ("Second", RUN, "completed")
        assert_accepted(server, "POST one", "PUT two")


async def test_reconcile_waits_until_the_answer_is_whole() -> None:
    growing = [(at, history(*FIRST, user("two"), assistant("Second"[:n]))) for at, n in ((0, 1), (6, 3), (12, 6))]
    get = chain([history(*FIRST, user("two"))] * 2, over_time(*growing))
    async with conversation(lost(), get=get) as (session, server):
        await unknown(session)
        assert (await session.reconcile()).text == "Second"
        assert_accepted(server, "POST one", "PUT two")


async def test_reconcile_raises_where_the_message_arrived_and_its_answer_never_comes() -> None:
    async with conversation(lost(), get=repeat(history(*FIRST, user("two")))) as (session, server):
        await unknown(session)
        with pytest.raises(StreamInterruptedError, match="had arrived") as caught:
            await session.reconcile()
        assert caught.value.safe_to_retry is False
        assert_accepted(server, "POST one", "PUT two")


async def test_reconcile_says_that_it_did_not_arrive() -> None:
    async with conversation(lost(), answer("ndjson", "Second"), get=repeat(ABSENT)) as (session, server):
        await unknown(session)
        assert await session.reconcile() is None
        assert (await session.send("two")).text == "Second"
        # The server broke the first connection unread, so "two" was taken up once, though it came twice.
        assert_accepted(server, "POST one", "PUT two", "PUT two")


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_reconcile_raises_while_nobody_can_know(status: int) -> None:
    async with conversation(lost(), get=repeat(refused(status))) as (session, server):
        await unknown(session)
        for _ in range(2):
            with pytest.raises(ToolhouseError):
                await session.reconcile()
        assert_accepted(server, "POST one", "PUT two")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_start_of_unknown_outcome_can_never_be_known(how: str) -> None:
    async with Scripted(post=[lost(how)]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        with pytest.raises(OutcomeUnknownError) as caught:
            await session.send("one")
        assert (caught.value.run_id, session.run_id) == (None, None)
        with pytest.raises(OutcomeUnknownError):
            await session.reconcile()
        with pytest.raises(OutcomeUnknownError):
            await session.send("one")
        assert methods(server) == "POST"
        assert_accepted(server, "POST one")


async def test_a_new_session_after_a_start_of_unknown_outcome_is_the_users_own_choice() -> None:
    async with Scripted(post=[lost(), answer("ndjson", "Hello")]) as server, connect(server) as toolhouse:
        with pytest.raises(OutcomeUnknownError):
            await toolhouse.run(AGENT, "one")
        assert (await toolhouse.run(AGENT, "two")).text == "Hello"
        assert_accepted(server, "POST one", "POST two")


# The same words again


@pytest.mark.parametrize("more", [[], [assistant("Again")]], ids=["unanswered", "answered"])
async def test_repeated_words_that_arrived(more: list[Any]) -> None:
    get = repeat(history(user("same"), assistant("First"), user("same"), *more))
    async with conversation(lost(), get=get, first="same") as (session, server):
        await unknown(session, "same")
        with pytest.raises(OutcomeUnknownError):
            await session.send("same")
        if more:
            assert (await session.reconcile()).text == "Again"
        assert_accepted(server, "POST same", "PUT same")


async def test_repeated_words_that_did_not_arrive() -> None:
    get = repeat(history(user("same"), assistant("First")))
    async with conversation(lost(), get=get, first="same") as (session, server):
        await unknown(session, "same")
        assert await session.reconcile() is None
        assert_accepted(server, "POST same", "PUT same")


@pytest.mark.parametrize("earlier", [1, 2])
async def test_repeated_words_in_a_conversation_of_unknown_past(earlier: int) -> None:
    """Whether the words in the history are ours or older cannot be told: neither answer nor "send again"."""
    found = history(*[user("same"), assistant("Some answer")] * earlier)
    async with Scripted(put=[lost()], get=repeat(found)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        await unknown(session, "same")
        with pytest.raises(ToolhouseError):
            await session.reconcile()
        with pytest.raises(OutcomeUnknownError):
            await session.send("same")
        assert_accepted(server, "PUT same")


# A job behind it


async def test_the_lost_message_had_started_a_job() -> None:
    before = [*FIRST, user("two"), assistant("Wait. ")]
    get = over_time((0, history(*before, job=JOB)), (20, history(*before, TOOL)))
    async with conversation(lost(), answer("ndjson", "Done"), get=get) as (session, server):
        await unknown(session)
        result = await session.reconcile()
        assert result is not None
        assert result.text == "Wait. Done"
        assert [job.job_id for job in result.jobs] == [JOB]
        assert_accepted(server, "POST one", "PUT two", "PUT ")


async def test_the_lost_message_had_started_a_job_and_the_next_turn_does_not_disturb_it() -> None:
    running = history(*FIRST, user("two"), job=JOB)
    async with conversation(lost(), get=repeat(running)) as (session, server):
        await unknown(session)
        with pytest.raises(OutcomeUnknownError):
            await session.send("two")
        assert methods(server).count("PUT") == 1
        assert_accepted(server, "POST one", "PUT two")


# Turns that end in between


async def give_up(session: Session, how: str) -> None:
    """Begin a turn, and end it while its message is in flight."""
    if how == "timed out":
        with pytest.raises(TurnTimeoutError) as caught:
            await session.send("two", timeout=5)
        assert caught.value.safe_to_retry is None
        return
    turn = session.stream("two")
    reading = asyncio.ensure_future(turn.result())
    await asyncio.sleep(5)
    if how == "cancelled":
        reading.cancel()
    else:
        await turn.aclose()
    with pytest.raises((asyncio.CancelledError, ClosedError)):
        await reading


@pytest.mark.parametrize("how", ["cancelled", "closed", "timed out"])
async def test_a_turn_given_up_in_flight_can_be_reconciled(how: str) -> None:
    async with conversation(falls_silent(), get=repeat(ARRIVED)) as (session, server):
        await give_up(session, how)
        assert (await session.reconcile()).text == "Second"
        assert_accepted(server, "POST one", "PUT two")


@pytest.mark.parametrize("how", ["cancelled", "closed", "timed out"])
async def test_a_turn_given_up_in_flight_does_not_bar_the_next(how: str) -> None:
    """Whoever stops a turn knows that they did: the contract has only an OutcomeUnknownError bar the next one."""
    async with conversation(falls_silent(), answer("ndjson", "Third"), get=repeat(ARRIVED)) as (session, server):
        await give_up(session, how)
        assert (await session.send("three")).text == "Third"
        assert_accepted(server, "POST one", "PUT two", "PUT three")


@pytest.mark.parametrize("how", ["cancelled", "closed", "timed out"])
async def test_what_was_given_up_and_comes_late_may_be_the_resume_of_the_next(how: str) -> None:
    """It is delivered once the next one's job is over: the worker answers, and the run waits for nothing more."""
    before = [*FIRST, user("three"), assistant("Wait. ")]
    late = history(*before, TOOL, user("two"), assistant("Done."))
    puts = falls_silent(), answer("ndjson", "Wait. ", job=JOB)
    async with conversation(*puts, get=chain([history(*before, job=JOB)], repeat(late))) as (session, server):
        await give_up(session, how)
        assert (await session.send("three")).text == "Wait. Done."
        assert_accepted(server, "POST one", "PUT two", "PUT three")


async def test_no_answer_in_time_makes_the_session_uncertain() -> None:
    async with conversation(falls_silent(), get=repeat(ARRIVED), timeouts=Timeouts(response=5)) as (session, server):
        assert isinstance(await unknown(session), ResponseTimeoutError)
        with pytest.raises(OutcomeUnknownError):
            await session.send("two")
        assert_accepted(server, "POST one", "PUT two")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_message_that_met_a_failure_can_be_reconciled(status: int) -> None:
    """The contract names OutcomeUnknownError alone; of a failure nobody knows either what became of the message."""
    async with conversation(refused(status), get=repeat(ARRIVED)) as (session, server):
        with pytest.raises(APIStatusError) as caught:
            await session.send("two")
        assert caught.value.safe_to_retry is None
        assert (await session.reconcile()).text == "Second"
        assert methods(server).count("PUT") == 1


async def test_a_turn_cancelled_while_it_waits_for_its_place_leaves_the_session_certain() -> None:
    async with conversation(answer("ndjson", "Sec", ends=False), answer("ndjson", "Third"), get=repeat(ARRIVED)) as (
        session,
        server,
    ):
        first = session.stream("two")
        async with first:
            await anext(first)
            waiting = asyncio.ensure_future(session.send("never"))
            await asyncio.sleep(5)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert methods(server) == "POST PUT"
        assert_accepted(server, "POST one", "PUT two")


async def test_a_turn_cancelled_before_anything_was_sent_leaves_the_session_certain() -> None:
    async with AsyncToolhouse("", base_url=f"http://127.0.0.1:{unused_port()}") as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        turn = asyncio.ensure_future(session.send("two"))
        for _ in range(20):
            await asyncio.sleep(0)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert await session.reconcile() is None


async def test_a_refused_message_leaves_the_session_certain() -> None:
    async with conversation(refused(422), answer("ndjson", "Third")) as (session, server):
        with pytest.raises(ToolhouseError) as caught:
            await session.send("two")
        assert caught.value.safe_to_retry is True
        assert (await session.send("three")).text == "Third"
        assert methods(server) == "POST PUT PUT"
        assert_accepted(server, "POST one", "PUT three")


# 409 and the resume


async def test_409_behind_our_own_lost_message_is_looked_into_before_anything_is_sent() -> None:
    """The history is late: it does not show the message yet whose job makes the service refuse the next one."""
    running = history(*FIRST, user("two"), job=JOB)
    get = chain([ABSENT], repeat(running))
    async with conversation(lost(), refused(409, job=JOB), get=get) as (session, server):
        await unknown(session)
        with pytest.raises(OutcomeUnknownError):
            await session.send("two")
        assert_accepted(server, "POST one", "PUT two")


async def through_a_job(put: Reply, get: Iterable[Reply], more: Iterable[Reply] = ()) -> tuple[Any, Scripted]:
    """A turn whose POST starts a job; its resume meets ``put``."""
    async with (
        Scripted(post=[streamed({"type": "text", "text": "Wait. "}, job=JOB)], put=[put, *more], get=get) as server,
        connect(server) as toolhouse,
    ):
        try:
            return await toolhouse.run(AGENT, "go"), server
        except ToolhouseError as error:
            return error, server


GONE = [user("go"), assistant("Wait. "), TOOL]
UNKNOWN: dict[str, Reply] = {
    "fin": lost(),
    "rst": lost("rst"),
    "500": refused(500),
    "502": refused(502),
    "503": refused(503, Retry_After="1"),
    "504": refused(504),
    "408": refused(408),
}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_a_lost_resume_that_arrived(name: str) -> None:
    get = chain([history(user("go"), job=JOB), history(*GONE)], repeat(history(*GONE, user(""), assistant("Done"))))
    result, server = await through_a_job(UNKNOWN[name], get)
    assert result.text == "Wait. Done"
    assert methods(server).count("PUT") == 1


@pytest.mark.parametrize("name", UNKNOWN)
async def test_a_lost_resume_that_provably_did_not_arrive_is_sent_again(name: str) -> None:
    get = chain([history(user("go"), job=JOB), history(*GONE)], repeat(history(*GONE)))
    result, server = await through_a_job(UNKNOWN[name], get, [answer("ndjson", "Done")])
    assert result.text == "Wait. Done"
    assert methods(server).count("PUT") == 2


@pytest.mark.parametrize("name", UNKNOWN)
async def test_a_lost_resume_of_which_nobody_can_know(name: str) -> None:
    """The history is not what was said and heard, so it proves nothing."""
    other = [user("go"), assistant("Other words"), TOOL]
    get = chain([history(user("go"), job=JOB), history(*other)], repeat(history(*other)))
    error, server = await through_a_job(UNKNOWN[name], get)
    assert isinstance(error, ResumeUncertainError)
    assert (error.run_id, error.safe_to_retry, error.token.job_id) == (
        RUN,
        False,
        JOB,
    )  # the user's message was accepted
    assert methods(server).count("PUT") == 1


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_lost_resume_and_a_history_that_cannot_be_read(status: int) -> None:
    get = chain([history(user("go"), job=JOB), history(*GONE)], repeat(refused(status)))
    error, server = await through_a_job(lost(), get)
    assert isinstance(error, ResumeUncertainError)
    assert methods(server).count("PUT") == 1


async def test_a_lost_resume_that_started_another_job() -> None:
    again = [*GONE, user(""), assistant("More. ")]
    get = chain(
        [history(user("go"), job=JOB), history(*GONE)],
        [history(*again, job="job-2")] * 3,
        repeat(history(*again, TOOL)),
    )
    result, server = await through_a_job(lost(), get, [answer("ndjson", "Done")])
    assert not isinstance(result, ToolhouseError), result
    assert result.text == "Wait. More. Done"
    assert [job.job_id for job in result.jobs] == [JOB, "job-2"]
    assert_accepted(server, "POST go", "PUT ", "PUT ")


async def test_a_resume_that_was_told_to_wait_is_sent_again() -> None:
    get = chain([history(user("go"), job=JOB)], repeat(history(*GONE)))
    started = now()
    result, server = await through_a_job(refused(429, Retry_After="20"), get, [answer("ndjson", "Done")])
    assert result.text == "Wait. Done"
    assert now() - started >= 20
    assert_accepted(server, "POST go", "PUT ")


async def test_a_resume_that_meets_409_goes_back_to_polling() -> None:
    get = chain([history(*GONE), history(*GONE, job=JOB)], repeat(history(*GONE)))
    result, server = await through_a_job(refused(409, job=JOB), get, [answer("ndjson", "Done")])
    assert result.text == "Wait. Done"
    assert_accepted(server, "POST go", "PUT ")


async def test_a_cut_answer_leaves_the_session_certain() -> None:
    """Its message is known to be accepted: there is nothing to reconcile."""
    async with conversation(cut("Sec"), answer("ndjson", "Third"), get=repeat(ABSENT)) as (session, server):
        with pytest.raises(ToolhouseError) as caught:
            await session.send("two", recover=False)
        assert caught.value.safe_to_retry is False
        assert (await session.send("three")).text == "Third"
        assert methods(server) == "POST PUT PUT"
        assert_accepted(server, "POST one", "PUT two", "PUT three")
