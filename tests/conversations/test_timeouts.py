"""Deadlines: of the turn, of the answer's headers, of silence."""

from __future__ import annotations

import asyncio
from itertools import repeat

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
    falls_silent,
    history,
    methods,
    now,
    pieces,
    refused,
    said,
    streamed,
    user,
)
from tests.support.raw_server import fin, ndjson
from toolhouse_async import (
    IdleTimeoutError,
    Limits,
    OutcomeUnknownError,
    RateLimitError,
    ResponseTimeoutError,
    ServerError,
    StreamInterruptedError,
    TextDelta,
    Timeouts,
    TurnTimeoutError,
)

DONE = streamed(said("done"))
HALF = falls_silent(streamed(said("half"), ends=False))
RUNS = history(user("hi"), job=JOB)
OVER = history(user("hi"), assistant("wait"))


# The turn's own


async def test_a_turns_timeout_ends_a_silent_stream_with_what_came() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises(TurnTimeoutError) as caught:
            await toolhouse.run(AGENT, "hi", timeout=20)
        assert now() - started == pytest.approx(20, abs=0.1)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.partial.text, caught.value.token, caught.value.run_id) == ("half", None, RUN)
    assert_accepted(server, "POST hi")


async def test_a_turns_timeout_ends_a_wait_for_the_answer() -> None:
    async with Scripted(post=[falls_silent()]) as server, connect(server) as toolhouse:
        with pytest.raises(TurnTimeoutError) as caught:
            await toolhouse.run(AGENT, "hi", timeout=20)
    assert caught.value.safe_to_retry is not True
    assert_accepted(server, "POST hi")


async def test_a_turns_timeout_counts_waiting_and_gives_a_token_while_a_job_runs() -> None:
    async with (
        Scripted(post=[streamed(said("wait"), job=JOB)], get=repeat(RUNS)) as server,
        connect(server) as toolhouse,
    ):
        started = now()
        with pytest.raises(TurnTimeoutError) as caught:
            await toolhouse.run(AGENT, "hi", timeout=100)
        assert now() - started == pytest.approx(100, abs=0.2)
    assert caught.value.partial.text == "wait"
    assert caught.value.token is not None
    assert (caught.value.token.run_id, caught.value.token.job_id) == (RUN, JOB)
    assert_accepted(server, "POST hi")


async def test_a_turns_timeout_goes_on_over_all_rounds() -> None:
    slow = pieces([ndjson(said("a"))] * 9, pause=5)
    async with (
        Scripted(post=[pieces([ndjson(said("a"))] * 9, pause=5, job=JOB)], get=[OVER], put=[slow]) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(TurnTimeoutError) as caught:
            await toolhouse.run(AGENT, "hi", timeout=60)
    assert 9 < len(caught.value.partial.text) < 18
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_turns_timeout_counts_the_wait_for_its_place() -> None:
    async with Scripted(put=[HALF]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        first = asyncio.ensure_future(session.send("one"))
        await asyncio.sleep(1)
        with pytest.raises(TurnTimeoutError) as caught:
            await session.send("two", timeout=10)
        assert caught.value.safe_to_retry is True
        first.cancel()
        await asyncio.wait([first])
    assert_accepted(server, "PUT one")


async def test_events_before_a_turns_timeout_are_delivered() -> None:
    words: list[str] = []
    async with (
        Scripted(post=[pieces([ndjson(said(str(n))) for n in range(9)], pause=5)]) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(TurnTimeoutError):
            async for event in toolhouse.stream(AGENT, "hi", timeout=22):
                if isinstance(event, TextDelta):
                    words.append(event.text)
    assert words == ["0", "1", "2", "3"]


async def test_what_came_and_is_too_long_is_left_out_at_a_turns_timeout() -> None:
    slow = pieces([ndjson(said("a")), b"x" * 200], pause=5)
    async with Scripted(post=[slow]) as server, connect(server, limits=Limits(max_line=100)) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi", timeout=20)
        await anext(turn)
        await anext(turn)
        await asyncio.sleep(30)
        with pytest.raises(TurnTimeoutError) as caught:
            await anext(turn)
    assert caught.value.partial.text == "a"


async def test_a_turn_that_is_fast_enough_is_not_touched() -> None:
    async with Scripted(post=[pieces([ndjson(said("a"))] * 3, pause=5)]) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi", timeout=16)).text == "aaa"


# Headers


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_no_answer_is_a_response_timeout_and_nothing_is_sent_again(method: str) -> None:
    async with Scripted(post=[falls_silent()], put=[falls_silent()]) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises(ResponseTimeoutError) as caught:
            await toolhouse.session(AGENT, run_id=RUN if method == "PUT" else None).send("hi")
        assert now() - started == pytest.approx(600, abs=1)
    assert isinstance(caught.value, OutcomeUnknownError)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.safe_to_retry is None
    assert methods(server) == method


async def test_the_response_timeout_is_a_setting() -> None:
    async with Scripted(post=[falls_silent()]) as server, connect(server, timeouts=Timeouts(response=5)) as toolhouse:
        started = now()
        with pytest.raises(ResponseTimeoutError):
            await toolhouse.run(AGENT, "hi")
        assert now() - started == pytest.approx(5, abs=0.1)
    assert_accepted(server, "POST hi")


async def test_half_a_head_is_no_answer() -> None:
    async with Scripted(post=[falls_silent(b"HTTP/1.1 200 OK\r\nX-Toolh")]) as server, connect(server) as toolhouse:
        with pytest.raises(ResponseTimeoutError):
            await toolhouse.run(AGENT, "hi")
    assert_accepted(server, "POST hi")


# Silence


async def test_a_silent_stream_is_an_idle_timeout_with_what_came() -> None:
    async with Scripted(post=[HALF]) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises(IdleTimeoutError) as caught:
            await toolhouse.run(AGENT, "hi", recover=False)
        assert now() - started == pytest.approx(300, abs=1)
    assert isinstance(caught.value, StreamInterruptedError)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.partial.text, caught.value.run_id) == ("half", RUN)
    assert_accepted(server, "POST hi")


async def test_the_idle_timeout_counts_between_bytes() -> None:
    parts = [ndjson(said("a"))] * 4
    async with Scripted(post=[pieces(parts, pause=299)]) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi", recover=False)).text == "aaaa"


async def test_half_a_line_is_a_sign_of_life() -> None:
    parts = [b'{"type": ', b'"text", ', b'"text": ', b'"a"}\n']
    async with Scripted(post=[pieces(parts, pause=299)]) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi", recover=False)).text == "a"


async def test_a_drip_of_400_seconds_completes() -> None:
    parts = [bytes([byte]) for byte in ndjson(said("drop"))]
    async with Scripted(post=[pieces(parts, pause=14)]) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi")).text == "drop"


async def test_a_slow_consumer_is_no_silence() -> None:
    parts = [ndjson(said("a"))] * 4
    async with Scripted(post=[pieces(parts, pause=200)]) as server, connect(server) as toolhouse:
        words = []
        async for event in toolhouse.stream(AGENT, "hi", recover=False):
            words.append(getattr(event, "text", ""))
            await asyncio.sleep(400)
    assert "".join(words) == "aaaa"


async def test_the_idle_timeout_counts_in_a_resumed_round_too() -> None:
    async with (
        Scripted(post=[streamed(said("a"), job=JOB)], get=[OVER], put=[HALF]) as server,
        connect(server, timeouts=Timeouts(idle=30)) as toolhouse,
    ):
        with pytest.raises(IdleTimeoutError) as caught:
            await toolhouse.run(AGENT, "hi", recover=False)
    assert caught.value.partial.text == "ahalf"
    assert_accepted(server, "POST hi", "PUT ")


async def test_an_earlier_silence_is_not_why_a_later_round_was_cut() -> None:
    silent = falls_silent(streamed(said("half"), job=JOB, ends=False))
    healed = repeat(history(user("hi"), assistant("half of it. ")))
    async with (
        Scripted(post=[silent], get=healed, put=[broken_off(streamed(said("Do"), ends=False), fin)]) as server,
        connect(server, timeouts=Timeouts(idle=30)) as toolhouse,
    ):
        with pytest.raises(StreamInterruptedError) as caught:
            await toolhouse.run(AGENT, "hi")
    assert type(caught.value) is StreamInterruptedError
    assert caught.value.partial.text == "half of it. Do"
    assert_accepted(server, "POST hi", "PUT ")


# Refusals in between


async def test_a_429_is_waited_for_as_told_within_the_turns_timeout() -> None:
    async with Scripted(post=[refused(429, Retry_After="20"), DONE]) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi", timeout=60)).text == "done"
    first, second = server.times("POST")
    assert 20 <= second - first < 30
    assert_accepted(server, "POST hi")


async def test_a_429_that_asks_for_too_much_is_raised_with_what_it_asks() -> None:
    async with Scripted(post=[refused(429, Retry_After="61")]) as server, connect(server) as toolhouse:
        with pytest.raises(RateLimitError) as caught:
            await toolhouse.run(AGENT, "hi")
    assert (caught.value.retry_after, caught.value.safe_to_retry) == (61, True)
    assert_accepted(server)


async def test_a_429_that_asks_beyond_the_turns_timeout_is_raised_at_once() -> None:
    async with Scripted(post=[refused(429, Retry_After="30")]) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises(RateLimitError):
            await toolhouse.run(AGENT, "hi", timeout=20)
        assert now() - started < 1
    assert_accepted(server)


async def test_a_look_behind_a_409_that_is_refused_beyond_the_turns_timeout_is_raised_at_once() -> None:
    busy = [refused(503, Retry_After="30")]
    async with Scripted(put=[refused(409)], get=busy) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises(ServerError):
            await toolhouse.session(AGENT, run_id=RUN).send("hi", timeout=20)
        assert now() - started < 1
    assert_accepted(server)


async def test_the_last_429_is_raised() -> None:
    async with Scripted(post=[refused(429, Retry_After="1")] * 3) as server, connect(server) as toolhouse:
        with pytest.raises(RateLimitError):
            await toolhouse.run(AGENT, "hi")
    assert_accepted(server)
