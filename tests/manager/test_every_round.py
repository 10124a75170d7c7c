"""All rounds of a turn that was killed are brought by another process; in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from .rounds import KILLED, ROUNDS, kill
from .support import processes


@pytest.mark.parametrize("is_over", [True, False], ids=["job over", "job running"])
@pytest.mark.parametrize(("records_tools", "records_empty"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("how", ["recover", "recover the message", "reconcile"])
@pytest.mark.parametrize("when", KILLED)
async def test_all_rounds(when: str, how: str, records_tools: bool, records_empty: bool, is_over: bool) -> None:
    async with processes(2) as (world, _, one, two):
        world.emulator.history_tools, world.emulator.history_empty_messages = records_tools, records_empty
        message = await kill(world, one, when)
        loop = asyncio.get_running_loop()
        if is_over:
            world.go_on.set()
            await asyncio.sleep(1)
        async with two.manager.checkout("k") as session:
            began = loop.time()
            loop.call_later(5, world.go_on.set)
            if how == "reconcile":
                result = await session.reconcile()
            else:
                result = await session.recover(message if how == "recover the message" else None)
            took = loop.time() - began
            assert result.text == "".join(ROUNDS[message])
            assert (await session.reconcile()).text == result.text
        assert world.accepted == [message, *[""] * (len(ROUNDS[message]) - 1)]
        assert took < 12  # RecoveryPolicy.deadline is 20
        assert (await two.manager.send("k", "x")).text.endswith(":x")
