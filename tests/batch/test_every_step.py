"""A process that dies at any of its steps, in any way; see ``dying.py``."""

from __future__ import annotations

import pytest

from .dying import PASSES, ROWS, at_message, at_step, count_steps


@pytest.mark.parametrize("does_it", [False, True])
async def test_every_step_of_the_store(does_it: bool) -> None:
    steps = await count_steps()
    assert steps > 5 * len(ROWS)
    unknown = [await at_step(step, does_it) for step in range(1, steps + 1)]
    assert sum(unknown) > 0  # or it has not died between the note and the answer


@pytest.mark.parametrize("number", range(1, len(ROWS) + 1))
@pytest.mark.parametrize("passes", PASSES)
async def test_every_message_that_was_accepted(number: int, passes: int) -> None:
    await at_message(number, passes)
