"""The page's file with a hub: the turn goes on without its reader, who comes back as an ``EventSource`` does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.docs.blocks import marked
from tests.support.answers import KEY
from tests.web.support import words

from .support import SECRET, TEXT, Reading, Site, site, soon


async def start(it: Site, question: str) -> str:
    async with it.client.post(f"{it.url}/turns", json={"question": question}) as answer:
        assert answer.status == 200
        name: str = (await answer.json())["name"]
        return name


async def follow(it: Site, name: str, after: str | None = None) -> Reading:
    headers = {} if after is None else {"Last-Event-ID": after}
    answer = await it.client.get(f"{it.url}/turns/{name}", headers=headers)
    assert answer.status == 200
    return Reading(answer)


async def test_a_reader_who_comes_back_gets_what_was_missed() -> None:
    async with site("hub") as it:
        name = await start(it, "steps")
        reading = await follow(it, name)
        first = [await reading.event() for _ in range(2)]
        assert words(first) == "word0 "
        reading.leave()
        for _ in range(5):  # nobody reads
            it.worker.go_on.set()
            await soon(lambda: not it.worker.go_on.is_set())
        events = await (await follow(it, name, first[-1].id)).rest()
        assert words(events) == "word1 word2 word3 word4 "
        assert events[-1].name == "TurnCompleted"
        again = await (await follow(it, name)).rest()  # and from the start, a while later
        assert words(again) == "word0 word1 word2 word3 word4 "
        assert len(it.service.accepted) == 1


async def test_a_reader_who_leaves_changes_nothing_for_the_turn_or_the_others() -> None:
    async with site("hub") as it:
        name = await start(it, "silent")
        leaving, staying = await follow(it, name), await follow(it, name)
        before = await tasks_once_read(leaving)
        leaving.leave()
        await soon(lambda: len(asyncio.all_tasks()) < before)
        assert it.service.connections == 1
        assert words(await staying.rest()) == "first last"


async def tasks_once_read(reading: Reading) -> int:
    while (await reading.event()).name != "TextDelta":
        pass
    return len(asyncio.all_tasks())


async def test_a_turn_that_nobody_knows_is_not_found() -> None:
    """An ``EventSource`` gives up then."""
    async with site("hub") as it, it.client.get(f"{it.url}/turns/nobody") as answer:
        assert answer.status == 404


WRONG = ["", "\ud800", "\ud800" * 20_001, "x" * 20_001, ["\ud800"], {"\ud800": 1}]


@pytest.mark.parametrize("question", WRONG, ids=["empty", "half", "long halves", "long", "list", "object"])
async def test_what_is_no_question_is_refused_and_sent_nowhere(question: Any) -> None:
    async with site("hub") as it:
        async with it.client.post(f"{it.url}/turns", json={"question": question}) as answer:
            assert answer.status == 422
        assert it.service.requests == []


async def test_the_turns_are_stopped_with_the_server() -> None:
    command = marked("served")[-1].code.strip()
    assert command == "uvicorn app:app --timeout-graceful-shutdown 5"
    async with site("hub", timeout_graceful_shutdown=5) as it:
        reading: Any = await follow(it, await start(it, "words"))
        await start(it, "silent")
        await reading.event()
        await it.accepted(2)
        stopped = it.stop()
        await asyncio.sleep(4)
        assert it.service.connections == 2  # while there is a reader, the hub goes on
        await stopped
        assert it.service.connections == 0
    assert "At the end\nof the process the hub stops its turns" in TEXT


async def test_a_failed_turn_is_told_in_safe_words() -> None:
    async with site("hub") as it:
        reading = await follow(it, await start(it, "fail"))
        said = (await reading.answer.read()).decode()
        assert "event: TurnFailed" in said
        assert [secret for secret in (KEY, SECRET) if secret in said] == []
