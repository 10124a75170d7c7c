"""``recover``: the answer to a message that another process began, by the history alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import chain, count, repeat
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
    broken_off,
    connect,
    falls_silent,
    history,
    methods,
    now,
    refused,
    said,
    streamed,
    user,
)
from tests.support.raw_server import fin
from toolhouse_async import (
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    RecoveryPolicy,
    StreamInterruptedError,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnTimeoutError,
)
from toolhouse_async.testing import EmulatorServer, WorkerContext, WorkerEvent, WorkersEmulator

GONE = broken_off(b"", fin)
ASKED = user("go")
TOOL = {"role": "tool", "tool_call_id": "c1", "content": "7"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]}
ALONE = history(ASKED)
WHOLE = history(ASKED, assistant("Done"))
RUNNING = history(ASKED, assistant("Wait. "), job=JOB)
WAITS = history(ASKED, assistant("Wait. "), TOOL)
RESUMED = history(ASKED, assistant("Wait. "), TOOL, user(""), assistant("Done"))


async def recover(
    *get: Reply, put: Iterable[Reply] = (), message: str | None = "go", **options: Any
) -> tuple[TurnResult, Scripted]:
    """What the other process gets: the last of the histories stays."""
    client = {name: options.pop(name) for name in ("recovery", "polling") if name in options}
    async with (
        Scripted(get=chain(get[:-1], repeat(get[-1])), put=put) as server,
        connect(server, **client) as toolhouse,
    ):
        return await toolhouse.recover(AGENT, RUN, message, **options), server


@pytest.mark.parametrize("message", ["go", None, " go "])
async def test_an_answer_that_is_there(message: str | None) -> None:
    started = now()
    result, server = await recover(WHOLE, message=message)
    assert (result.text, result.run_id, result.recovered, result.rounds) == ("Done", RUN, True, ("Done",))
    assert now() - started == pytest.approx(10, abs=1)  # it has rested
    assert set(methods(server).split()) == {"GET"}


async def test_an_answer_that_is_still_being_written() -> None:
    halves = [history(ASKED, assistant("Done"[:many])) for many in range(1, 4)]
    result, _ = await recover(ALONE, *halves, WHOLE)
    assert result.text == "Done"


async def test_readings_that_fail_in_passing() -> None:
    result, _ = await recover(refused(503), GONE, WHOLE, refused(429, Retry_After="1"), WHOLE)
    assert result.text == "Done"


async def test_a_job_that_runs() -> None:
    result, server = await recover(RUNNING, RUNNING, WAITS, put=[streamed(said("Done"))])
    assert (result.text, result.rounds) == ("Wait. Done", ("Wait. ", "Done"))
    assert [job.job_id for job in result.jobs] == [JOB]
    assert_accepted(server, "PUT ")


async def test_a_job_that_is_over() -> None:
    started = now()
    result, server = await recover(WAITS, put=[streamed(said("Done"))])
    assert result.text == "Wait. Done"
    assert_accepted(server, "PUT ")
    assert server.times("PUT")[0] == pytest.approx(120, abs=1)  # another may have resumed it, which comes late
    assert now() - started < 130


async def test_a_job_that_is_over_where_messages_are_shown_early() -> None:
    grows = history(ASKED, assistant("Wai"))
    result, server = await recover(grows, WAITS, put=[streamed(said("Done"))], message=None)
    assert result.text == "Wait. Done"
    assert server.times("PUT")[0] < 20


async def test_a_run_that_was_resumed() -> None:
    result, server = await recover(RESUMED)
    assert (result.text, result.rounds) == ("Wait. Done", ("Wait. ", "Done"))
    assert_accepted(server)


async def test_a_resume_whose_answer_is_still_to_come() -> None:
    pending = history(ASKED, assistant("Wait. "), TOOL, user(""))
    result, server = await recover(*[pending] * 9, RESUMED)
    assert result.text == "Wait. Done"
    assert_accepted(server)


async def test_resumes_that_have_words() -> None:
    spoken = history(ASKED, assistant("Wait. "), TOOL, user("on"), assistant("Done"))
    for message in ("go", None):
        result, server = await recover(spoken, message=message, resume_message="on")
        assert (result.text, result.rounds) == ("Wait. Done", ("Wait. ", "Done"))
        assert_accepted(server)
    result, _ = await recover(WAITS, put=[streamed(said("Done"))], resume_message="on")
    assert result.text == "Wait. Done"


async def test_a_resume_with_words_whose_answer_is_still_to_come() -> None:
    pending = history(ASKED, assistant("Wait. "), TOOL, user("on"))
    with pytest.raises(StreamInterruptedError) as caught:
        await recover(pending, resume_message="on", recovery=RecoveryPolicy(deadline=20))
    assert caught.value.partial.text == "Wait. "
    assert caught.value.safe_to_retry is False


async def test_what_a_tool_was_asked_and_has_said() -> None:
    result, _ = await recover(history(ASKED, CALL, TOOL, assistant("Done")))
    (exchange,) = result.tool_calls
    assert exchange.call == ToolCall("c1", "f", {})
    assert exchange.result == ToolResult("c1", None, "7", is_error=False)


async def test_an_unanswered_call_is_no_answer() -> None:
    with pytest.raises(StreamInterruptedError) as caught:
        await recover(history(ASKED, CALL))
    assert len(caught.value.partial.tool_calls) == 1
    assert caught.value.safe_to_retry is False


async def test_the_same_words_again() -> None:
    both = history(ASKED, assistant("First"), ASKED, assistant("Second"))
    result, _ = await recover(both)
    assert result.text == "Second"


async def test_a_message_after_which_others_have_gone_on() -> None:
    further = history(ASKED, assistant("Done"), user("more"), assistant("Wait. "), job=JOB)
    async with Scripted(get=repeat(further)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        assert (await session.recover("go")).text == "Done"
        assert await session.reconcile() is None  # it is not the run's latest


async def test_an_answer_that_others_have_cut_short() -> None:
    further = history(ASKED, assistant("Wait. "), TOOL, user("more"), assistant("Yes"))
    with pytest.raises(StreamInterruptedError) as caught:
        await recover(further)
    assert caught.value.partial.text == "Wait. "


@pytest.mark.parametrize("shown", [history(), history(user("hi"), assistant("Hello"))])
async def test_a_message_that_is_not_there(shown: bytes) -> None:
    started = now()
    with pytest.raises(OutcomeUnknownError) as caught:
        await recover(shown)
    assert now() - started == pytest.approx(120, abs=1)
    assert (caught.value.safe_to_retry, caught.value.run_id) == (None, RUN)


async def test_a_message_that_comes_late() -> None:
    result, _ = await recover(*[history()] * 5, WHOLE)
    assert result.text == "Done"


async def test_a_conversation_that_was_begun_without_a_message() -> None:
    for shown in (history(assistant("Hello")), history(user(""), assistant("Hello"))):
        result, _ = await recover(shown, message="")
        assert result.text == "Hello"
    with pytest.raises(OutcomeUnknownError):  # it may be a window of the latest entries
        await recover(history(assistant("Hello")), message=None)
    with pytest.raises(OutcomeUnknownError):  # a message without words is told from a resume by nothing
        await recover(WHOLE, message="")


async def test_what_nobody_here_can_explain() -> None:
    odd = history(ASKED, assistant("Done"), {"role": "human", "content": "more"}, assistant("Yes"))
    with pytest.raises(StreamInterruptedError, match="cannot explain") as caught:
        await recover(odd)
    assert caught.value.partial.text == "DoneYes"


async def test_a_run_that_nobody_knows() -> None:
    with pytest.raises(NotFoundError) as caught:
        await recover(refused(404))
    assert caught.value.safe_to_retry is None


async def test_a_run_that_is_forgotten_meanwhile() -> None:
    with pytest.raises(NotFoundError) as caught:
        await recover(ALONE, refused(404))
    assert caught.value.safe_to_retry is False


async def test_a_history_that_cannot_be_read_until_the_deadline() -> None:
    with pytest.raises(OutcomeUnknownError) as caught:
        await recover(refused(503))
    assert caught.value.safe_to_retry is None


# Jobs that the history does not tell of


async def test_a_job_without_a_trace() -> None:
    result, server = await recover(RUNNING, history(ASKED, assistant("Wait. ")), put=[streamed(said("Done"))])
    assert result.text == "Wait. Done"
    assert_accepted(server, "PUT ")


async def test_a_job_of_a_round_with_nothing_in_it() -> None:
    result, server = await recover(history(ASKED, job=JOB), ALONE, put=[streamed(said("Done"))])
    assert result.text == "Done"
    assert_accepted(server, "PUT ")


async def test_a_job_behind_words_that_follow_a_result() -> None:
    spoken = (ASKED, CALL, TOOL, assistant("Wait. "))
    result, server = await recover(history(*spoken, job=JOB), history(*spoken), put=[streamed(said("Done"))])
    assert result.text == "Wait. Done"
    assert_accepted(server, "PUT ")


async def test_a_job_after_which_another_has_resumed_the_run() -> None:
    result, server = await recover(RUNNING, RESUMED)
    assert result.text == "Wait. Done"
    assert_accepted(server)


# Options


async def test_a_job_that_is_left() -> None:
    service = Scripted(get=chain([RUNNING] * 12, repeat(WAITS)), put=[streamed(said("Done"))])
    async with service as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        result = await session.recover("go", background="detach")
        assert (result.text, result.status) == ("Wait. ", "background")
        assert result.token is not None
        assert result.token.job_id == JOB
        assert (await toolhouse.wait_for_job(result.token)).text == "Done"
        found = await session.reconcile()
        assert found is not None
        assert found.text == "Wait. Done"


async def test_a_job_that_hides_the_history_cannot_be_left() -> None:
    hidden = refused(200, b"{}", job=JOB)
    with pytest.raises(OutcomeUnknownError) as caught:
        await recover(hidden, background="detach")
    assert caught.value.token is not None
    result, _ = await recover(hidden, WAITS, background="detach", put=[streamed(said("Done"))])
    assert result.text == "Wait. Done"


async def test_its_time_is_over_while_a_job_runs() -> None:
    with pytest.raises(TurnTimeoutError) as caught:
        await recover(RUNNING, timeout=30)
    assert caught.value.partial.text == "Wait. "
    assert caught.value.token is not None
    assert caught.value.safe_to_retry is False


async def test_its_time_is_over_before_anything_is_seen() -> None:
    with pytest.raises(TurnTimeoutError) as caught:
        await recover(falls_silent(), timeout=3)
    assert caught.value.safe_to_retry is None


async def test_its_time_is_told_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    clock, ticks = loop.time, count()
    monkeypatch.setattr(loop, "time", lambda: clock() + next(ticks) / 1000)  # each look takes its time
    with pytest.raises(TurnTimeoutError, match="took longer than its timeout of 3 s"):
        await recover(falls_silent(), timeout=3)


async def test_wrong_arguments() -> None:
    async with Scripted() as server, connect(server) as toolhouse:
        with pytest.raises(ConfigurationError, match="run_id="):
            await toolhouse.session(AGENT).recover("go")
        with pytest.raises(ConfigurationError):
            await toolhouse.recover(AGENT, "../x", "go")
        with pytest.raises(ConfigurationError, match="message"):
            await toolhouse.recover(AGENT, RUN, 7)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="unknown"):
            await toolhouse.recover(AGENT, RUN, "go", colour="red")  # type: ignore[call-arg]


# What this client knows afterwards


async def test_the_conversation_goes_on() -> None:
    more = history(ASKED, assistant("Done"), user("more"), assistant("Yes"))
    service, quick = Scripted(get=chain([WHOLE] * 9, repeat(more)), put=[GONE]), RecoveryPolicy(quiet=4)
    async with service as server, connect(server, recovery=quick) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        result = await session.recover("go")
        assert await session.reconcile() == result
        with pytest.raises(OutcomeUnknownError):
            await session.send("more")
        found = await session.reconcile()
        assert found is not None
        assert found.text == "Yes"
        assert await session.recover("more") == found
        assert (await session.recover("go")).text == "Done"


async def test_who_asks_again_gets_the_same_at_once() -> None:
    async with Scripted(get=repeat(WHOLE)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        result = await session.recover("go")
        looks = len(server.requests)
        assert await session.recover() is result
        assert await session.recover("go") is result
        assert len(server.requests) == looks + 2


async def test_two_tasks_recover_the_same() -> None:
    states = iter([*[WAITS] * 40])

    def shown() -> Iterable[Reply]:
        while True:
            yield RESUMED if server.accepted else next(states)

    async with Scripted(get=shown(), put=[streamed(said("Done"))]) as server, connect(server) as toolhouse:
        both = await asyncio.gather(*(toolhouse.recover(AGENT, RUN, message) for message in ("go", None)))
    assert [each.text for each in both] == ["Wait. Done"] * 2
    assert_accepted(server, "PUT ")


async def test_a_cancelled_resume_is_not_sent_again() -> None:
    def shown() -> Iterable[Reply]:
        while True:
            yield RESUMED if server.accepted and now() > cancelled + 20 else WAITS

    cancelled = 0.0
    async with Scripted(get=shown(), put=[falls_silent()]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        first = asyncio.ensure_future(session.recover("go"))
        while not server.accepted:
            await asyncio.sleep(1)
        cancelled = now()
        first.cancel()
        await asyncio.wait([first])
        assert (await session.recover("go")).text == "Wait. Done"
        assert_accepted(server, "PUT ")


async def test_a_message_of_this_clients_own() -> None:
    """What this client has left open comes first; one that is provably absent leaves the turn before it."""
    before = history(user("hi"), assistant("Hello"))
    service = Scripted(post=[streamed(said("Hello"))], put=[GONE], get=repeat(before))
    async with service as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("hi")
        with pytest.raises(OutcomeUnknownError):
            await session.send("go")
        assert (await session.recover()).text == "Hello"
        with pytest.raises(OutcomeUnknownError):
            await session.recover("go")


async def test_an_answer_of_this_clients_own_that_was_cut() -> None:
    cut = broken_off(streamed(said("Do"), ends=False), fin)
    async with Scripted(post=[cut], get=repeat(WHOLE)) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        with pytest.raises(StreamInterruptedError):
            await session.send("go", recover=False)
        assert (await session.recover()).text == "Done"
        assert (await session.recover("go")).text == "Done"


# With a service that keeps a history of its own


@pytest.fixture
async def service() -> AsyncIterator[EmulatorServer]:
    emulator = WorkersEmulator(history_tools=True)

    async def job() -> str:
        await asyncio.sleep(60)
        return "7"

    @emulator.worker(AGENT)
    async def worker(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
        if ctx.message == "go":
            yield ctx.background(job)
            yield ctx.text("Wait. ")
        else:
            yield ctx.text(f"It is {ctx.job_result}.")

    async with emulator.serve() as server:
        yield server


@pytest.mark.parametrize("away", [0, 30, 90])
@pytest.mark.parametrize("message", ["go", None])
async def test_a_process_that_was_ended_while_its_job_ran(
    service: EmulatorServer, away: float, message: str | None
) -> None:
    async with connect(service) as toolhouse:
        run_id = (await toolhouse.run(AGENT, "go", background="detach")).run_id
    assert run_id is not None
    await asyncio.sleep(away)
    async with connect(service) as toolhouse:
        session = toolhouse.session(AGENT, run_id=run_id)
        result = await session.recover(message)
        assert result.text == "Wait. It is 7."
        assert (await session.send("and")).text == "It is None."
    assert_accepted(service, "POST go", "PUT ", "PUT and")
