"""What a history takes in, when and in which form, and how much of it a read shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .conftest import Client

RUN = "X-Toolhouse-Run-ID"


@pytest.fixture
def gate(emulator: WorkersEmulator) -> asyncio.Event:
    """Holds worker ``a`` between its two words."""
    event = asyncio.Event()

    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("half")
        await event.wait()
        yield ctx.text(" whole")

    return event


def blocks(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        (None, " one\r\ntwo \n"),
        (str.rstrip, " one\r\ntwo"),
        (lambda text: text.replace("\r\n", "\n"), " one\ntwo \n"),
        (blocks, blocks(" one\r\ntwo \n")),
    ],
)
async def test_history_message(emulator: WorkersEmulator, client: Client, form: Any, stored: Any) -> None:
    heard = []

    @emulator.worker("a")
    async def a(ctx):
        heard.append((ctx.message, ctx.history[-1]))
        yield ctx.text("words \n")

    if form is not None:
        emulator.history_message = form
    run_id = (await client.start(" one\r\ntwo \n")).run_id
    assert heard == [(" one\r\ntwo \n", {"role": "user", "content": stored})]
    assert await client.said(run_id) == [("user", stored), ("assistant", "words \n")]


async def test_history_message_gives_no_message_where_there_is_none(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    emulator.history_message = str.upper
    emulator.history_empty_messages = False
    run_id = (await client.start()).run_id
    await client.go_on(run_id, "")
    assert [role for role, _ in await client.said(run_id)] == ["assistant"]
    emulator.history_start_without_message = "Hola"
    assert (await client.said((await client.start()).run_id))[0] == ("user", "HOLA")


async def test_a_message_that_cannot_be_stored_is_not_accepted(emulator: WorkersEmulator, client: Client) -> None:
    def refuse(text: str) -> str:
        raise ValueError(text)

    emulator.worker("a")(echo)
    emulator.history_message = refuse
    assert (await client.start("m")).status == 500
    assert client.server.accepted == []


@pytest.mark.parametrize("moment", ["start", "end"])
@pytest.mark.parametrize("partial", [False, True])
async def test_history_message_at(
    emulator: WorkersEmulator, client: Client, gate: asyncio.Event, moment: str, partial: bool
) -> None:
    emulator.history_message_at = moment
    emulator.history_partial = partial
    async with client.stream("POST", "/a", json={"message": "m"}) as stream:
        run_id = stream.headers[RUN]
        shown = {False: [("user", "m")], True: [("user", "m"), ("assistant", "half")]}[partial]
        assert await client.said(run_id) == (shown if moment == "start" else [])
        gate.set()
        await stream.read()
    whole = [("user", "m"), ("assistant", "half whole")]
    assert await client.said(run_id) == whole
    await client.go_on(run_id, "n")
    assert await client.said(run_id) == [*whole, ("user", "n"), ("assistant", "half whole")]


async def test_a_worker_knows_the_message_that_its_history_takes_in_at_the_end(
    emulator: WorkersEmulator, client: Client
) -> None:
    histories = []

    @emulator.worker("a")
    async def a(ctx):
        histories.append([entry["content"] for entry in ctx.history])
        yield ctx.text("words")

    emulator.history_message_at = "end"
    run_id = (await client.start("m")).run_id
    await client.go_on(run_id, "n")
    assert histories == [["m"], ["m", "words", "n"]]


@pytest.mark.parametrize("partial", [False, True])
async def test_a_turn_that_was_broken_off_comes_in_at_its_end_too(
    emulator: WorkersEmulator, client: Client, partial: bool
) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("half")
        raise RuntimeError("broken")

    emulator.history_message_at = "end"
    emulator.history_partial = partial
    answer = await client.ask("POST", "/ndjson/a", json={"message": "m"})
    assert await client.said(answer.run_id) == [("user", "m"), *([("assistant", "half")] if partial else [])]


@pytest.mark.parametrize("moment", ["start", "end"])
async def test_what_a_worker_does_to_its_history_changes_no_other(
    emulator: WorkersEmulator, client: Client, moment: str
) -> None:
    @emulator.worker("a")
    async def a(ctx):
        for entry in ctx.history:
            entry["content"] = "changed"
        yield ctx.text("words")

    emulator.history_message_at = moment
    run_id = (await client.start("m")).run_id
    assert await client.said(run_id) == [("user", "m"), ("assistant", "words")]


async def test_a_turn_that_comes_in_at_its_end_comes_late_as_a_whole(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    emulator.history_message_at = "end"
    emulator.history_delay = 5.0
    run_id = (await client.start("x")).run_id
    assert await client.said(run_id) == []
    await asyncio.sleep(5.1)
    assert await client.said(run_id) == [("user", "x"), ("assistant", "x")]


async def test_a_job_stands_behind_the_turn_that_comes_in_at_its_end(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.background(lambda: "result")
        while (await client.read(ctx.run_id)).job_id is not None:
            pass
        assert await client.said(ctx.run_id) == []
        yield ctx.text("words")

    emulator.history_message_at = "end"
    run_id = (await client.start("x")).run_id
    assert await client.said(run_id) == [("user", "x"), ("assistant", "words"), ("tool", "result")]


@pytest.fixture
def tools(emulator: WorkersEmulator) -> list[str]:
    """The ids of the calls of worker ``t``: it calls two tools at once, one that fails, and starts a job."""
    ids: list[str] = []

    @emulator.worker("t")
    async def t(ctx):
        if ctx.job_result is not None:
            yield ctx.text("done")
            return
        yield ctx.text("one ")
        calls = [ctx.tool_call("search", {"q": number}) for number in range(2)]
        ids.extend(call.id for call in calls)
        for call in calls:
            yield call
        yield ctx.tool_result(calls[0], ["r"])
        yield ctx.tool_result(calls[1], "broken", is_error=True)
        last = ctx.tool_call("compute")
        ids.append(last.id)
        yield last
        yield ctx.text("two")
        yield ctx.background(lambda: {"rows": 3})

    return ids


def chat_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result_block(call_id: str | None, content: str, *, is_error: bool = False) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": is_error}


async def with_its_job_over(client: Client) -> list[dict[str, Any]]:
    """The history of a run of worker ``t``."""
    run_id = (await client.start("m", "t")).run_id
    while (await client.read(run_id, "t")).job_id is not None:
        pass
    return await client.history(run_id, "t")


async def test_tool_results_in_the_tools_own_name(emulator: WorkersEmulator, client: Client, tools: list[str]) -> None:
    emulator.history_tools = True
    history = await with_its_job_over(client)
    assert history == [
        {"role": "user", "content": "m"},
        {
            "role": "assistant",
            "content": "one ",
            "tool_calls": [chat_call(tools[0], "search", '{"q":0}'), chat_call(tools[1], "search", '{"q":1}')],
        },
        {"role": "tool", "tool_call_id": tools[0], "name": "search", "content": '["r"]'},
        {"role": "tool", "tool_call_id": tools[1], "name": "search", "content": "broken"},
        {"role": "assistant", "content": "", "tool_calls": [chat_call(tools[2], "compute", "null")]},
        {"role": "assistant", "content": "two"},
        {"role": "tool", "content": '{"rows":3}'},
    ]


async def test_tool_results_in_the_users_name(emulator: WorkersEmulator, client: Client, tools: list[str]) -> None:
    emulator.history_tools = True
    emulator.history_tool_role = "user"
    history = await with_its_job_over(client)
    called = zip(tools, ["search", "search", "compute"], [{"q": 0}, {"q": 1}, None], strict=True)
    uses = [{"type": "tool_use", "id": call, "name": name, "input": arguments} for call, name, arguments in called]
    assert history[:-1] == [
        {"role": "user", "content": "m"},
        {"role": "assistant", "content": [{"type": "text", "text": "one "}, *uses[:2]]},
        {"role": "user", "content": [result_block(tools[0], '["r"]'), result_block(tools[1], "broken", is_error=True)]},
        {"role": "assistant", "content": uses[2:]},
        {"role": "assistant", "content": "two"},
    ]
    assert history[-1]["role"] == "user"
    assert history[-1]["content"][0]["content"] == '{"rows":3}'


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("role", ["tool", "user"])
async def test_a_job_s_end_in_either_name(emulator: WorkersEmulator, client: Client, role: str, failed: bool) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.background([].pop if failed else [3].pop)

    emulator.history_tool_role = role
    answer = await client.start("m")
    await client.until_over(answer.run_id)
    content = "IndexError: pop from empty list" if failed else "3"
    block = result_block(answer.job_id, content, is_error=failed)
    assert (await client.history(answer.run_id))[1:] == [
        {"role": "tool", "content": content} if role == "tool" else {"role": "user", "content": [block]}
    ]


@pytest.mark.parametrize("role", ["tool", "user"])
async def test_tools_that_the_history_does_not_keep(
    emulator: WorkersEmulator, client: Client, tools: list[str], role: str
) -> None:
    emulator.history_tool_role = role
    history = await with_its_job_over(client)
    assert history[:2] == [{"role": "user", "content": "m"}, {"role": "assistant", "content": "one two"}]
    assert [entry["role"] for entry in history[2:]] == [role]


async def test_history_roles(emulator: WorkersEmulator, client: Client, tools: list[str]) -> None:
    seen = []

    @emulator.worker("a")
    async def a(ctx):
        seen.append([entry["role"] for entry in ctx.history])
        yield ctx.text("words")

    emulator.history_roles = {"user": "human", "assistant": "ai"}
    run_id = (await client.start("m")).run_id
    await client.go_on(run_id, "n")
    assert [role for role, _ in await client.said(run_id)] == ["human", "ai", "human", "ai"]
    assert seen == [["human"], ["human", "ai", "human"]]
    history = await with_its_job_over(client)
    assert [entry["role"] for entry in history] == ["human", "ai", "tool"]
    emulator.history_tool_role = "user"
    history = await with_its_job_over(client)
    assert [entry["role"] for entry in history] == ["human", "ai", "human"]
    emulator.history_roles = {}
    assert [role for role, _ in await client.said(run_id)] == ["user", "assistant", "user", "assistant"]


async def test_history_window(emulator: WorkersEmulator, client: Client, gate: asyncio.Event) -> None:
    emulator.history_partial = True
    gate.set()
    run_id = (await client.start("1")).run_id
    for number in "23":
        await client.go_on(run_id, number)
    whole = [(role, words) for number in "123" for role, words in (("user", number), ("assistant", "half whole"))]
    assert await client.said(run_id) == whole
    for size in (1, 2, 3, 6, 7):
        emulator.history_window = size
        assert await client.said(run_id) == whole[-size:]
    gate.clear()
    emulator.history_window = 2
    async with client.stream("PUT", f"/a/{run_id}", json={"message": "4"}) as stream:
        assert await client.said(run_id) == [("user", "4"), ("assistant", "half")]
        gate.set()
        await stream.read()
    emulator.history_window = None
    assert len(await client.said(run_id)) == 8


async def test_a_window_takes_nothing_from_the_worker(emulator: WorkersEmulator, client: Client) -> None:
    known = []

    @emulator.worker("a")
    async def a(ctx):
        known.append(len(ctx.history))
        yield ctx.text("words")

    emulator.history_window = 1
    run_id = (await client.start("1")).run_id
    await client.go_on(run_id, "2")
    assert known == [1, 3]


async def test_history_lag(emulator: WorkersEmulator, client: Client, gate: asyncio.Event) -> None:
    emulator.history_partial = True
    async with client.stream("POST", "/a", json={"message": "m"}) as stream:
        run_id = stream.headers[RUN]
        emulator.history_lag = 5.0
        assert await client.said(run_id) == []
        await asyncio.sleep(5.1)
        assert await client.said(run_id) == [("user", "m")]
        gate.set()
        await stream.read()
    await asyncio.sleep(4)
    assert await client.said(run_id) == [("user", "m")]
    await asyncio.sleep(1.1)
    assert await client.said(run_id) == [("user", "m"), ("assistant", "half whole")]
    await client.go_on(run_id, "n")
    assert len(await client.said(run_id)) == 2
    emulator.history_lag = 0.0
    assert len(await client.said(run_id)) == 4


async def test_a_lag_and_a_delay_add_up(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    emulator.history_delay = 3.0
    emulator.history_lag = 5.0
    run_id = (await client.start("x")).run_id
    counts = []
    for _ in range(3):
        await asyncio.sleep(3)
        counts.append(len(await client.said(run_id)))
    assert counts == [0, 1, 2]


async def test_a_lagging_read_knows_that_a_job_is_over_before_its_history_does(
    emulator: WorkersEmulator, client: Client, tools: list[str]
) -> None:
    emulator.history_lag = 5.0
    history = await with_its_job_over(client)
    assert history == []
