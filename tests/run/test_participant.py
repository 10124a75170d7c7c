from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.answers import client_of, history, said
from tests.support.raw_server import RawServer
from toolhouse_async import PollingPolicy
from toolhouse_async._http.answer import AiohttpAnswer
from toolhouse_async._run.conversation import Conversation, Extras
from toolhouse_async._run.participant import Participant
from toolhouse_async._run.resume import SharedResume
from toolhouse_async._turn.commands import Send
from toolhouse_async._turn.heard import Said
from toolhouse_async._turn.job import Job
from toolhouse_async._turn.polls import Report
from toolhouse_async._turn.table import State
from toolhouse_async._values.options import Options

RESUME = Send(0.0, Said(""), {"message": ""}, "r1", resumes=True)
MESSAGE = Send(0.0, Said("x"), {"message": "x"}, "r1", resumes=False)


@asynccontextmanager
async def on_one_run(answers: list[bytes], *states: State) -> AsyncIterator[tuple[RawServer, list[Participant]]]:
    """Turns on one run, each with its place."""
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        core = toolhouse._core
        core.check_usable()
        conversations = [Conversation(core, "a", "r1", Extras()) for _ in states]
        machines = [
            conversation.turn(Options(), message="x" if state is State.SENDING else None, state=state)
            for conversation, state in zip(conversations, states, strict=True)
        ]
        made = [Participant(each, machine.progress) for each, machine in zip(conversations, machines, strict=True)]
        yield server, made
        for each in made:
            each.leave()


async def test_a_message_of_the_users_is_sent_alone_and_its_answer_has_no_layer_around_it() -> None:
    async with on_one_run([said("x")], State.SENDING) as (server, (one,)):
        assert await one.enter() is None
        assert not one.in_flight
        answer = await one.send(MESSAGE, None)
        assert type(answer) is AiohttpAnswer
        assert one.in_flight
        one.done_sending()
        assert not one.in_flight
        answer.close()
        assert len(server.requests) == 1


async def test_who_waits_in_the_queue_to_resume_takes_part_in_the_resume_of_another() -> None:
    async with on_one_run([said("x")], State.WAITING, State.WAITING) as (server, (one, two)):
        assert await one.enter() is None
        waiting = asyncio.ensure_future(two.enter())
        await asyncio.sleep(0)
        first = await one.send(RESUME, None)
        resume = await waiting
        assert isinstance(resume, SharedResume)
        assert resume.said is RESUME.said
        assert two.in_flight
        second = await two.send(RESUME, None)
        assert [await answer.read() for answer in (first, second)] == [b'{"type": "text", "text": "x"}\n'] * 2
        assert len(server.requests) == 1


async def test_who_leaves_hands_the_run_to_one_who_reads_the_same_answer_and_not_to_the_queue() -> None:
    async with on_one_run([said("x")], State.WAITING, State.WAITING, State.SENDING) as (_, (one, two, behind)):
        await one.enter()
        waiting = asyncio.ensure_future(two.enter())
        queued = asyncio.ensure_future(behind.enter())
        await asyncio.sleep(0)
        await one.send(RESUME, None)
        await waiting
        one.leave()
        await asyncio.sleep(1)
        assert not queued.done()
        two.leave()
        assert await queued is None


async def test_who_comes_while_a_resume_is_under_way_takes_part_in_it() -> None:
    async with on_one_run([said("x")], State.WAITING, State.WAITING) as (server, (one, late)):
        await one.enter()
        await one.send(RESUME, None)
        resume = await late.enter()
        assert isinstance(resume, SharedResume)
        assert late.in_flight  # whoever sent it has not said yet what became of it
        assert len(server.requests) == 1


async def test_who_polls_takes_part_in_a_resume_that_is_sent_meanwhile() -> None:
    answers = [history(("user", "x"), job="j1"), history(("user", "x"), job="j1"), said("y")]
    async with on_one_run(answers, State.WAITING, State.WAITING) as (server, (one, polls)):
        job = Job(PollingPolicy(), "j1", asyncio.get_running_loop().time(), until=None)
        first = await polls.report(job, None)
        assert isinstance(first, Report)
        waiting = asyncio.ensure_future(polls.report(job, None))
        await one.enter()
        await asyncio.sleep(0)
        await one.send(RESUME, None)
        assert isinstance(await waiting, SharedResume)
        assert isinstance(await polls.report(job, None), SharedResume)  # and no poll more
        assert len(server.requests) == 3


async def test_an_id_that_an_answer_brought_is_one_more_name_of_the_run() -> None:
    async with on_one_run([], State.SENDING) as (_, (one,)):
        core = one._core
        one.name_run("r1")
        one.name_run("r2")
        assert core.run_of("a", "r2") is core.run_of("a", "r1")


async def test_what_the_old_run_refused_is_not_in_flight_on_the_new_one() -> None:
    async with on_one_run([said("x")], State.SENDING) as (_, (one,)):
        await one.enter()
        answer = await one.send(MESSAGE, None)
        answer.close()
        assert one.in_flight
        one.begin_anew()
        assert not one.in_flight  # so whoever gives it up now has a message that is known not to be accepted
