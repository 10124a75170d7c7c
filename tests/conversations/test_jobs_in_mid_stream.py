"""Jobs that begin behind an answer's headers, or beside an answer whose end proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    Reply,
    Scripted,
    assert_accepted,
    assistant,
    broken_off,
    called,
    connect,
    history,
    kinds,
    methods,
    returned,
    said,
    streamed,
    user,
)
from tests.exactly_once.support import answer, cut, over_time
from tests.support.raw_server import fin, response
from toolhouse_async import (
    PollingPolicy,
    RecoveryPolicy,
    StreamInterruptedError,
    StreamRecovered,
    TooManyRoundsError,
    TurnResult,
)

WORDS = "I will work on it. "
CALL = called("code_interpreter:0", "code_interpreter")
STARTED = returned("code_interpreter:0", "started in the background")
TOOL = {"role": "tool", "content": "344 rows"}
CALL_ENTRY = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
RESULTS = {
    "tool": TOOL,
    "function": {"role": "function", "name": "f", "content": "344 rows"},
    "no role": {"type": "function_call_output", "call_id": "1", "output": "344 rows"},
    "in a user's name": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "344"}]},
    "one block in a user's name": {"role": "user", "content": {"type": "tool-result", "result": "344 rows"}},
    "gemini": {"role": "user", "content": [{"functionResponse": {"name": "f", "response": {}}}]},
    "an own tool of the service": {"role": "assistant", "content": [{"type": "web_search_tool_result", "content": []}]},
}
DONE = "344 rows."


async def run(get: Iterable[Reply], post: Reply, *put: Reply, **options: Any) -> tuple[TurnResult, str]:
    recovery = options.pop("recovery", RecoveryPolicy())
    async with (
        Scripted(post=[post], get=get, put=put) as server,
        connect(server, recovery=recovery) as toolhouse,
    ):
        result = await toolhouse.run(AGENT, "go", **options)
    assert_accepted(server, "POST go", *["PUT "] * len(put))
    return result, methods(server)


@pytest.mark.parametrize("form", RESULTS)
@pytest.mark.parametrize("ends", [[CALL], [CALL, STARTED]], ids=["call", "answered call"])
async def test_a_run_whose_job_was_over_before_anybody_looked_is_resumed(form: str, ends: list[Any]) -> None:
    waits = history(user("go"), assistant(WORDS), CALL_ENTRY, RESULTS[form])
    result, seen = await run([waits], streamed(said(WORDS), *ends), streamed(said(DONE)))
    assert (result.text, result.rounds, result.recovered) == (WORDS + DONE, (WORDS, DONE), 0)
    assert (seen, result.jobs) == ("POST GET PUT", ())


async def test_a_job_that_runs_behind_an_answered_call_is_waited_for() -> None:
    running = history(user("go"), assistant(WORDS), job=JOB)
    over = history(user("go"), assistant(WORDS), TOOL)
    result, seen = await run([running, running, over], streamed(said(WORDS), CALL, STARTED), streamed(said(DONE)))
    assert (result.text, [job.job_id for job in result.jobs]) == (WORDS + DONE, [JOB])
    assert seen == "POST GET GET GET PUT"


async def test_words_behind_the_call_do_not_hide_the_job() -> None:
    over = history(user("go"), CALL_ENTRY, TOOL, assistant(WORDS), TOOL)
    result, _ = await run([over], streamed(CALL, STARTED, said(WORDS)), streamed(said(DONE)))
    assert result.text == WORDS + DONE


@pytest.mark.parametrize("runs", [True, False], ids=["running", "over"])
async def test_text_shows_no_tools_so_the_run_is_looked_at(runs: bool) -> None:
    running = [history(user("go"), assistant(WORDS), job=JOB)] * 2 if runs else []
    over = history(user("go"), assistant(WORDS), TOOL)
    whole = history(user("go"), assistant(WORDS), TOOL, user(""), assistant(DONE))
    result, _ = await run(
        [*running, over, whole], answer("text", WORDS), answer("text", DONE), format="text", background="resume"
    )
    assert (result.text, len(result.jobs)) == (WORDS + DONE, runs)


async def test_a_text_answer_with_nothing_behind_it_costs_one_look() -> None:
    _, seen = await run([history(user("go"), assistant(WORDS))], answer("text", WORDS), format="text")
    assert seen == "POST GET"


async def test_a_history_that_lags_says_nothing_about_words_that_came() -> None:
    """A tool's result stands last there, and the words behind it are not recorded yet."""
    lags = history(user("go"), assistant(WORDS), TOOL)
    whole = history(user("go"), assistant(WORDS), TOOL, assistant(DONE))
    post = streamed(said(WORDS), CALL, returned("code_interpreter:0"), said(DONE))
    result, seen = await run([lags, lags, whole], post)
    assert (result.text, seen) == (WORDS + DONE, "POST GET GET GET")
    result, seen = await run(repeat(lags), post)
    assert (result.text, result.recovered) == (WORDS + DONE, 0)
    assert seen.count("GET") > 5


async def test_a_call_without_a_result_and_nothing_behind_it_is_looked_at_again() -> None:
    calls = history(user("go"), assistant(WORDS), CALL_ENTRY)
    post = streamed(said(WORDS), CALL)
    running = history(user("go"), assistant(WORDS), CALL_ENTRY, job=JOB)
    over = history(user("go"), assistant(WORDS), CALL_ENTRY, TOOL)
    result, _ = await run([calls, calls, running, over], post, streamed(said(DONE)))
    assert (result.text, len(result.jobs)) == (WORDS + DONE, 1)
    result, _ = await run([calls, over], post, streamed(said(DONE)))
    assert (result.text, len(result.jobs)) == (WORDS + DONE, 0)
    result, seen = await run(repeat(calls), post)
    assert (result.text, seen.count("GET") > 5) == (WORDS, True)


async def test_a_call_that_the_history_does_not_have_yet_is_looked_at_again() -> None:
    nothing = history(user("go"))
    over = history(user("go"), CALL_ENTRY, TOOL)
    result, _ = await run([nothing, nothing, over], streamed(CALL), streamed(said(DONE)))
    assert result.text == DONE


async def test_ids_that_come_again_in_each_round_do_not_hide_a_job() -> None:
    first = history(user("go"), assistant("one "), TOOL)
    second = history(user("go"), assistant("one "), TOOL, user(""), assistant("two "), TOOL)
    async with (
        Scripted(
            post=[streamed(said("one "), CALL, STARTED, job=JOB)],
            get=[first, second],
            put=[streamed(said("two "), CALL), streamed(said("three"))],
        ) as server,
        connect(server) as toolhouse,
    ):
        result = await toolhouse.run(AGENT, "go")
    assert result.text == "one two three"
    assert [each.result and each.result.content for each in result.tool_calls] == ["started in the background", None]
    assert_accepted(server, "POST go", "PUT ", "PUT ")


async def test_a_run_that_waits_for_ever_is_not_resumed_for_ever() -> None:
    def rounds() -> Iterable[Reply]:
        entries: list[Any] = [user("go")]
        while True:
            entries += [assistant("on "), TOOL]
            yield history(*entries)
            entries.append(user(""))

    async with (
        Scripted(post=[streamed(said("on "), CALL)], get=rounds(), put=repeat(streamed(said("on "), CALL))) as server,
        connect(server, polling=PollingPolicy(max_rounds=3)) as toolhouse,
    ):
        with pytest.raises(TooManyRoundsError):
            await toolhouse.run(AGENT, "go")
    assert_accepted(server, "POST go", "PUT ", "PUT ", "PUT ")


# --- an answer with a job whose end proves nothing


def unproven(*words: str) -> bytes:
    return response(
        200,
        {"X-Toolhouse-Run-ID": "run-1", "X-Toolhouse-Job-ID": JOB},
        b"".join(answer("ndjson", each).split(b"\r\n\r\n", 1)[1].split(b"\r\n")[1] for each in words),
        until_close=True,
    )


@pytest.mark.parametrize("received", ["I will ", WORDS], ids=["cut", "whole"])
@pytest.mark.parametrize("lasts", [3, 40])
async def test_words_that_a_proxy_cut_before_a_job_are_healed_and_the_run_is_resumed(received: str, lasts: int) -> None:
    entries = (user("go"), assistant(WORDS))
    get = over_time((0, history(*entries, job=JOB)), (lasts, history(*entries, TOOL)))
    result, _ = await run(get, unproven(received), streamed(said(DONE)))
    assert (result.text, result.recovered) == (WORDS + DONE, received != WORDS)
    assert [job.job_id for job in result.jobs] == [JOB]


async def test_words_before_a_job_that_a_proxy_made_a_clean_end_of_a_cut_are_healed_once_the_job_is_over() -> None:
    over = history(user("go"), assistant(WORDS), TOOL)
    async with (
        Scripted(post=[streamed(said("I will "), job=JOB)], get=[over], put=[streamed(said(DONE))]) as server,
        connect(server) as toolhouse,
    ):
        events = [event async for event in toolhouse.stream(AGENT, "go")]
    assert kinds(events) == [
        *["TurnStarted", "TextDelta", "JobStarted", "JobFinished", "StreamRecovered", "TextDelta"],
        *["TurnResumed", "TextDelta", "TurnCompleted"],
    ]
    assert StreamRecovered(WORDS, "work on it. ") in events
    assert events[-1].result.text == WORDS + DONE


@pytest.mark.parametrize("options", [{"settle": False}, {"recover": False}])
async def test_such_a_round_stands_as_it_came_where_that_is_wanted(options: dict[str, Any]) -> None:
    over = history(user("go"), assistant(WORDS), TOOL)
    result, _ = await run([over], streamed(said("I will "), job=JOB), streamed(said(DONE)), **options)
    assert (result.text, result.recovered) == ("I will " + DONE, 0)


async def test_settle_compares_before_the_job_is_waited_for() -> None:
    entries = (user("go"), assistant(WORDS))
    get = over_time((0, history(*entries, job=JOB)), (60, history(*entries, TOOL)))
    async with (
        Scripted(post=[streamed(said(WORDS), job=JOB)], get=get) as server,
        connect(server) as toolhouse,
    ):
        result = await toolhouse.run(AGENT, "go", settle=True, background="detach")
    assert (result.text, result.status) == (WORDS, "background")
    assert 10 <= server.times("GET")[-1] < 11


async def test_words_cut_before_a_job_that_is_left_running_are_an_interruption_with_its_token() -> None:
    running = history(user("go"), assistant(WORDS), job=JOB)
    async with (
        Scripted(post=[unproven("I will ")], get=repeat(running)) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(StreamInterruptedError) as caught:
            await toolhouse.run(AGENT, "go", background="detach")
    token = caught.value.partial.token
    assert token is not None
    assert token.job_id == JOB
    assert_accepted(server, "POST go")


# --- what a history at rest proves


async def test_a_half_answer_on_which_the_history_agrees_is_believed_only_at_rest() -> None:
    half, whole = history(user("go"), assistant("I will ")), history(user("go"), assistant(WORDS))
    post = response(200, {"X-Toolhouse-Run-ID": "run-1"}, b'{"type":"text","text":"I will "}\n', until_close=True)
    result, _ = await run(over_time((0, half), (8, whole)), post)
    assert (result.text, result.recovered) == (WORDS, 1)
    result, _ = await run(over_time((0, half), (8, whole)), streamed(said("I will ")), settle=True)
    assert (result.text, result.recovered) == (WORDS, 1)


async def test_readings_that_fail_show_nothing() -> None:
    half, whole = history(user("go"), assistant("I will work")), history(user("go"), assistant(WORDS))
    away = broken_off(b"", fin)
    result, _ = await run(over_time((0, half), (1, away), (30, whole)), cut("I will "))
    assert (result.text, result.recovered) == (WORDS, 1)


async def test_results_in_a_users_name_do_not_end_an_answer() -> None:
    entries = (user("go"), assistant("I will "), RESULTS["in a user's name"], assistant("work on it. "))
    result, _ = await run(repeat(history(*entries)), cut("I will ", "wo"))
    assert (result.text, result.recovered) == (WORDS, 1)


@pytest.mark.parametrize(
    "call",
    [
        {"role": "assistant", "content": WORDS, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": [{"type": "text", "text": WORDS}, {"type": "tool_use", "id": "1"}]},
        {"role": "assistant", "content": [{"type": "text", "text": WORDS}, {"type": "tool-call", "toolName": "f"}]},
        {"role": "assistant", "content": [{"text": WORDS}, {"functionCall": {"name": "f"}}]},
    ],
)
async def test_a_call_without_a_result_is_no_end(call: Any) -> None:
    calls, whole = history(user("go"), call), history(user("go"), call, TOOL, assistant(DONE))
    post = broken_off(streamed(said(WORDS), CALL, ends=False), fin)
    result, _ = await run(over_time((0, calls), (60, whole)), post)
    assert (result.text, result.recovered) == (WORDS + DONE, 1)


@pytest.mark.parametrize("stored", [WORDS.strip(), WORDS.replace(" ", "\n"), WORDS + "\n"])
async def test_an_answer_stored_with_other_white_space_is_the_same(stored: str) -> None:
    result, _ = await run(repeat(history(user("go"), assistant(stored))), cut(WORDS))
    assert (result.text, result.recovered) == (stored if stored.startswith(WORDS) else WORDS, 1)


async def test_a_history_that_has_less_than_was_received_is_not_the_answer() -> None:
    half, whole = history(user("go"), assistant("I will")), history(user("go"), assistant(WORDS))
    result, _ = await run(over_time((0, half), (60, whole)), cut("I will work"))
    assert (result.text, result.recovered) == (WORDS, 1)
