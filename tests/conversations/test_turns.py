"""Turns as users hold them: opening, closing, one reader, their order on a run."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    falls_silent,
    history,
    methods,
    said,
    streamed,
    user,
)
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    JobProgress,
    NotSentError,
    RetryPolicy,
    Session,
    SessionBusyError,
    TextDelta,
    Turn,
    TurnCompleted,
    TurnStarted,
)
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

DONE = streamed(said("done"))
HALF = falls_silent(streamed(said("half"), ends=False))
OVER = history(user("hi"), assistant("wait"))


async def words_of(turn: Turn) -> str:
    return "".join([event.text async for event in turn if isinstance(event, TextDelta)])


async def until_text(turn: Turn) -> None:
    async for event in turn:
        if isinstance(event, TextDelta):
            return


def forget(turns: list[Turn]) -> None:
    turns.clear()
    gc.collect()


# Opening and closing


async def test_nothing_is_sent_before_the_first_step() -> None:
    async with Scripted(post=[DONE]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        await asyncio.sleep(100)
        assert server.requests == []
        assert await words_of(turn) == "done"
    assert_accepted(server, "POST hi")


async def test_async_with_sends() -> None:
    async with Scripted(post=[DONE]) as server, connect(server) as toolhouse, toolhouse.stream(AGENT, "hi") as turn:
        assert methods(server) == "POST"
        assert turn.run_id == RUN
        assert isinstance(await anext(turn), TurnStarted)
    assert_accepted(server, "POST hi")


async def test_without_async_with_it_closes_itself_at_the_end() -> None:
    async with Scripted(post=[DONE]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        assert await words_of(turn) == "done"
        with pytest.raises(StopAsyncIteration):
            await anext(turn)
        assert (await turn.result()).text == "done"
    assert_accepted(server, "POST hi")


async def test_a_turn_that_was_never_started_leaves_nothing_behind() -> None:
    async with Scripted() as server, connect(server) as toolhouse:
        toolhouse.stream(AGENT, "hi")
        gc.collect()
    assert server.requests == []


async def test_break_within_async_with_closes_the_stream() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        async with toolhouse.stream(AGENT, "hi") as turn:
            await until_text(turn)
        while server.open_connections:
            await asyncio.sleep(0.01)
    assert_accepted(server, "POST hi")


async def test_an_abandoned_turn_is_closed_with_a_resource_warning_that_names_it() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        turns = [toolhouse.stream(AGENT, "hi")]
        await until_text(turns[0])
        with pytest.warns(ResourceWarning, match=rf"(?i)turn.*{AGENT}"):
            forget(turns)
        while server.open_connections:
            await asyncio.sleep(0.01)
    assert_accepted(server, "POST hi")


async def test_the_place_of_a_turn_that_was_left_goes_to_the_next() -> None:
    async with (
        Scripted(post=[DONE], put=[HALF, DONE]) as server,
        connect(server) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        await session.send("one")
        async with session.stream("two") as turn:
            await until_text(turn)
        assert (await session.send("three")).text == "done"
    assert_accepted(server, "POST one", "PUT two", "PUT three")


async def test_a_closed_turn_gives_closed_error() -> None:
    async with Scripted(post=[DONE]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        await turn.aclose()
        await turn.aclose()
        with pytest.raises(ClosedError):
            await anext(turn)
    assert server.requests == []


async def test_aclose_from_another_task_ends_the_consumer_with_closed_error() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        consumer = asyncio.ensure_future(words_of(turn))
        await asyncio.sleep(10)
        await turn.aclose()
        with pytest.raises(ClosedError):
            await consumer
    assert_accepted(server, "POST hi")


async def test_aclose_ends_a_wait_for_a_job_too() -> None:
    async with Scripted(post=[streamed(job=JOB)], get=[history(job=JOB)] * 99) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        consumer = asyncio.ensure_future(words_of(turn))
        await asyncio.sleep(30)
        await turn.aclose()
        with pytest.raises(ClosedError):
            await consumer
        polls = methods(server)
        await asyncio.sleep(100)
    assert methods(server) == polls
    assert_accepted(server, "POST hi")


async def test_a_cancelled_consumer_is_cancelled_and_the_stream_is_closed() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        consumer = asyncio.ensure_future(words_of(turn))
        await asyncio.sleep(10)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        await turn.aclose()
        while server.open_connections:
            await asyncio.sleep(0.01)
    assert_accepted(server, "POST hi")


# The client's end


async def test_closing_the_client_ends_live_turns_with_closed_error() -> None:
    async with Scripted(post=[HALF, streamed(job=JOB), falls_silent()], get=[history(job=JOB)] * 99) as server:
        toolhouse = connect(server)
        consumers = []
        for _ in range(3):
            consumers.append(asyncio.ensure_future(words_of(toolhouse.stream(AGENT, "hi"))))
            await asyncio.sleep(10)
        await toolhouse.aclose()
        await toolhouse.aclose()
        for consumer in consumers:
            with pytest.raises(ClosedError):
                await consumer
    assert_accepted(server, *["POST hi"] * 3)


async def test_closing_the_client_ends_turns_that_wait_for_their_place() -> None:
    async with Scripted(put=[HALF]) as server:
        toolhouse = connect(server)
        session = toolhouse.session(AGENT, run_id=RUN)
        tasks = [asyncio.ensure_future(session.send(message)) for message in ("one", "two")]
        await asyncio.sleep(10)
        await toolhouse.aclose()
        for task in tasks:
            with pytest.raises(ClosedError):
                await task
    assert_accepted(server, "PUT one")


async def test_a_closed_client_and_a_closed_session_refuse() -> None:
    async with Scripted() as server:
        async with connect(server) as toolhouse:
            session = toolhouse.session(AGENT)
            await session.aclose()
            with pytest.raises(ClosedError) as of_session:
                await session.send("hi")
        with pytest.raises(ClosedError) as of_client:
            await toolhouse.run(AGENT, "hi")
    assert of_session.value.safe_to_retry is of_client.value.safe_to_retry is True
    assert server.requests == []


async def test_closing_a_session_ends_its_turn() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        consumer = asyncio.ensure_future(words_of(session.stream("hi")))
        await asyncio.sleep(10)
        await session.aclose()
        with pytest.raises(ClosedError):
            await consumer
    assert_accepted(server, "POST hi")


# One reader


async def test_a_second_reader_gets_session_busy_error() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse, toolhouse.stream(AGENT, "hi") as turn:
        await until_text(turn)
        first = asyncio.ensure_future(anext(turn))
        await asyncio.sleep(1)
        for second in (turn.result(), anext(turn), anext(turn.text_stream)):
            with pytest.raises(SessionBusyError):
                await second
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert_accepted(server, "POST hi")


# Order on a run


@pytest.fixture
def talker(emulator: WorkersEmulator) -> None:
    """Answers in a while; a message that comes meanwhile is refused."""
    emulator.while_answering = "conflict"

    @emulator.worker(AGENT)
    async def talker(ctx):
        yield ctx.text("[")
        await asyncio.sleep(5)
        yield ctx.text(f"{ctx.message}]")


async def test_turns_of_one_session_are_serialised_first_come_first_served(
    talker: None, server: EmulatorServer, session: Session
) -> None:
    messages = [str(number) for number in range(6)]
    results = await asyncio.gather(*(session.send(message) for message in messages))
    assert [result.text for result in results] == [f"[{message}]" for message in messages]
    assert_accepted(server, "POST 0", *(f"PUT {message}" for message in messages[1:]))
    assert methods(server) == "POST PUT PUT PUT PUT PUT"


async def test_turns_on_one_run_are_serialised_whichever_session_they_come_from(
    talker: None, server: EmulatorServer, toolhouse: AsyncToolhouse, session: Session
) -> None:
    await session.send("first")
    others = [toolhouse.session(AGENT, run_id=session.run_id) for _ in range(3)]
    await asyncio.gather(*(each.send(str(n)) for n, each in enumerate([session, *others, session])))
    assert_accepted(server, "POST first", *(f"PUT {number}" for number in range(5)))
    assert methods(server) == "POST PUT PUT PUT PUT PUT"


async def test_turns_on_different_runs_go_side_by_side(
    talker: None, server: EmulatorServer, toolhouse: AsyncToolhouse
) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(toolhouse.run(AGENT, "hi") for _ in range(5)))
    assert loop.time() - started < 6
    assert_accepted(server, *["POST hi"] * 5)


async def test_a_place_is_taken_at_the_first_step(talker: None, server: EmulatorServer, session: Session) -> None:
    await session.send("first")
    late, early = session.stream("late"), session.stream("early")
    first = asyncio.ensure_future(early.result())
    await asyncio.sleep(0)
    await asyncio.gather(first, late.result())
    assert_accepted(server, "POST first", "PUT early", "PUT late")


async def test_a_place_that_is_given_up_while_waiting_is_skipped(
    talker: None, server: EmulatorServer, session: Session
) -> None:
    await session.send("first")
    tasks = [asyncio.ensure_future(session.send(message)) for message in ("a", "b", "c")]
    await asyncio.sleep(1)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert_accepted(server, "POST first", "PUT a", "PUT c")


async def test_the_next_turn_waits_for_the_whole_turn_before_jobs_and_resumes_included(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message == "compute":
            yield ctx.background(asyncio.sleep, 60)
        yield ctx.text(f"[{ctx.message}]")

    results = await asyncio.gather(session.send("compute"), session.send("next"))
    assert [result.text for result in results] == ["[compute][]", "[next]"]
    assert_accepted(server, "POST compute", "PUT ", "PUT next")
    assert "PUT GET" not in methods(server)


@pytest.mark.parametrize("other", [False, True], ids=["same session", "other session"])
async def test_waiting_for_ones_own_turn_is_session_busy_error_at_once(other: bool) -> None:
    async with Scripted(put=[HALF]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        second = toolhouse.session(AGENT, run_id=RUN) if other else session
        async with session.stream("one") as turn:
            await until_text(turn)
            with pytest.raises(SessionBusyError):
                await second.send("two")
    assert_accepted(server, "PUT one")


async def test_the_turn_before_ends_well_after_a_session_busy_error() -> None:
    async with Scripted(put=[DONE]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        async with session.stream("one") as turn:
            await anext(turn)
            with pytest.raises(SessionBusyError):
                await session.send("two")
            assert (await turn.result()).text == "done"
    assert_accepted(server, "PUT one")


async def test_another_task_waits_for_a_turn_that_this_one_steps() -> None:
    async with Scripted(put=[DONE, DONE]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        async with session.stream("one") as turn:
            await anext(turn)
            second = asyncio.ensure_future(session.send("two"))
            await asyncio.sleep(10)
            assert not second.done()
            await turn.result()
        assert (await second).text == "done"
    assert_accepted(server, "PUT one", "PUT two")


async def test_a_turn_handed_to_another_task_may_be_waited_for() -> None:
    """The busy error is about who stepped the turn last, not about who made it."""
    async with Scripted(put=[DONE, DONE]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        turn = session.stream("one")
        await anext(turn)
        reader = asyncio.ensure_future(slowly(turn))
        await asyncio.sleep(1)
        assert (await session.send("two")).text == "done"
        await reader
    assert_accepted(server, "PUT one", "PUT two")


async def slowly(turn: Turn) -> None:
    async for event in turn:
        if not isinstance(event, TurnCompleted):
            await asyncio.sleep(10)


async def test_polls_and_reads_do_not_wait_for_a_turn() -> None:
    async with Scripted(put=[HALF], get=[OVER, OVER]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        async with session.stream("one") as turn:
            await until_text(turn)
            assert [message.text for message in await session.history()] == ["hi", "wait"]
            assert not (await session.job_status()).running
    assert_accepted(server, "PUT one")


async def test_many_conversations_at_once(emulator: WorkersEmulator, server: EmulatorServer) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.background(asyncio.sleep, 20)
            yield ctx.text(ctx.message)
        else:
            yield ctx.text("!")

    async with connect(server) as toolhouse:
        results = await asyncio.gather(*(toolhouse.run(AGENT, str(n)) for n in range(20)))
    assert [result.text for result in results] == [f"{n}!" for n in range(20)]
    assert len(server.accepted) == 40


def test_a_client_belongs_to_the_loop_that_used_it_first() -> None:
    with asyncio.Runner() as first, asyncio.Runner() as second:
        toolhouse = AsyncToolhouse("k", base_url="http://127.0.0.1:1", retries=RetryPolicy(max_attempts=1))
        with pytest.raises(NotSentError):
            first.run(toolhouse.run(AGENT, "hi"))
        with pytest.raises(ConfigurationError):
            second.run(toolhouse.run(AGENT, "hi"))
        first.run(toolhouse.aclose())


async def test_progress_is_yielded_while_the_job_runs_and_not_afterwards(
    emulator: WorkersEmulator, session: Session
) -> None:
    loop = asyncio.get_running_loop()

    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.background(asyncio.sleep, 20)
        yield ctx.text("words")

    started, seen = loop.time(), []
    async for event in session.stream("hi"):
        if isinstance(event, JobProgress):
            seen.append((loop.time() - started, event.elapsed))
    assert len(seen) > 5
    for at, elapsed in seen:
        assert at == pytest.approx(elapsed, abs=0.1)
