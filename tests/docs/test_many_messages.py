"""What the page on many messages promises of the pace: what begins when, and what is left when a program stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiolimiter import AsyncLimiter

from toolhouse_async import AuthenticationError
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .scenes import block_with, cancel, now, scene
from .setups import AGENT_ID, says


@pytest.mark.parametrize(("limit", "burst"), [((1, 0.5), 1), ((120, 60), 120)])
async def test_messages_begin_at_the_limiters_pace(limit: tuple[float, float], burst: int) -> None:
    began: list[float] = []

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        began.append(now())
        await asyncio.sleep(3)
        yield ctx.text("so")

    async with scene({AGENT_ID: worker}) as it:
        paced = await it.function("paced")
        messages = paced(["?"] * (burst + 10), AsyncLimiter(*limit))
        async with it.toolhouse.map(AGENT_ID, messages, concurrency=200) as items:
            assert len([item async for item in items if item.error is None]) == burst + 10
    assert max(began[:burst]) - began[0] < 0.4
    pauses = [later - earlier for earlier, later in zip(began[burst - 1 :], began[burst:], strict=False)]
    assert pauses == pytest.approx([0.5] * 10, abs=0.4 if burst > 1 else 0.05)


async def test_the_number_under_way_is_bounded_as_ever() -> None:
    async with scene({AGENT_ID: says("so", after=100)}) as it:
        paced = await it.function("paced")
        async with it.toolhouse.map(AGENT_ID, paced(["?"] * 9, AsyncLimiter(1, 0.5)), concurrency=3) as items:
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.sleep(50)
            assert len(it.asked) == 3
            await cancel(waiting)


async def test_what_is_sent_again_after_429_is_not_held_back() -> None:
    emulator = WorkersEmulator()
    emulator.faults.add(status=429, retry_after=0.1)
    came: list[float] = []

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        came.append(now())
        yield ctx.text("so")

    async with scene({AGENT_ID: worker}, emulator) as it:
        paced = await it.function("paced")
        began = now()
        async with it.toolhouse.map(AGENT_ID, paced(["?"] * 2, AsyncLimiter(1, 64)), concurrency=2) as items:
            assert [item.error async for item in items] == [None, None]
        assert len(it.server.requests) == 3
        assert came[0] - began < 1
        assert came[1] - began >= 64


async def test_a_program_that_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("quick\n" + "slow\n" * 8)

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(0 if ctx.message == "quick" else 100)
        yield ctx.text("so")

    async with scene({AGENT_ID: worker}) as it:
        running = asyncio.create_task(it.run(block_with("aiolimiter")))
        await asyncio.sleep(1.2)
        await cancel(running)
        await asyncio.sleep(10)
        assert [request.json()["message"] for request in it.server.accepted] == ["quick", "slow", "slow"]
        (line,) = Path("answers.jsonl").read_text().splitlines()
        assert json.loads(line) == {"index": 0, "question": "quick", "text": "so"}
        assert await it.connections() <= 1


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]


async def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("one\ntwo\nthree\n")
    first = {"index": 1, "question": "two", "text": "kept"}
    Path("answers.jsonl").write_text(json.dumps(first) + '\n{"index": 0, "que')  # it was killed in mid-line
    async with scene({AGENT_ID: echo}) as it:
        await it.run(block_with("aiolimiter"))
        assert [request.json()["message"] for request in it.server.accepted] == ["one", "three"]
        await it.run(block_with("aiolimiter"))
        assert len(it.server.accepted) == 2
    assert lines() == [
        first,
        {"index": 0, "question": "one", "text": "one"},
        {"index": 2, "question": "three", "text": "three"},
    ]


async def go_away(it: Any, patch: pytest.MonkeyPatch) -> None:
    """Close all connections, and refuse new ones."""

    async def refused(*_: object, **__: object) -> Any:
        raise ConnectionRefusedError(111, "Connection refused")

    loop = asyncio.get_running_loop()
    patch.setattr(loop, "sock_connect", refused)
    patch.setattr(loop, "create_connection", refused)
    for connection in it.server._runner.server.connections:
        connection.transport.close()
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 300}, {"refuse": True}], ids=["busy", "away"])
async def test_it_pauses_while_nothing_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    count = 50
    Path("questions.txt").write_text("".join(f"question {number}\n" for number in range(count)))
    emulator = WorkersEmulator()
    async with scene({AGENT_ID: echo}, emulator) as it:
        running = asyncio.create_task(it.run(block_with("aiolimiter")))
        await asyncio.sleep(5.2)  # between two questions
        with monkeypatch.context() as patch:
            if "refuse" in fault:
                await go_away(it, patch)
            else:
                emulator.faults.add(times=None, **fault)
            before = len(it.server.accepted), len(it.server.requests)
            await asyncio.sleep(90)
            assert len(it.server.accepted) == before[0]
            assert len(it.server.requests) - before[1] < 20
        emulator.faults.clear()
        await running
        told = [request.json()["message"] for request in it.server.accepted]
    assert sorted(told) == sorted(f"question {number}" for number in range(count))
    assert sorted(line["index"] for line in lines()) == list(range(count))
    assert all(line["text"] == line["question"] for line in lines())


async def test_what_nobody_knows_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("one\ntwo\n")
    emulator = WorkersEmulator()
    emulator.faults.add(cut="rst", accept=True)
    async with scene({AGENT_ID: echo}, emulator) as it:
        await it.run(block_with("aiolimiter"))
        assert len(it.server.accepted) == 2
    assert sorted("error" in line for line in lines()) == [False, True]


async def test_a_wrong_key_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("one\n" * 30)
    emulator = WorkersEmulator(api_key="another")
    async with scene({AGENT_ID: echo}, emulator) as it:
        with pytest.raises(AuthenticationError):
            await it.run(block_with("aiolimiter"))
        assert len(it.server.requests) < 5
    assert lines() == []


async def test_the_progress_is_shown_beside_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("one\ntwo\n")
    async with scene({AGENT_ID: echo}) as it:
        await it.run(block_with("aiolimiter"))
    printed = capsys.readouterr()
    assert "Asking" in printed.err
    assert "100%" in printed.err
    assert "Asking" not in printed.out
