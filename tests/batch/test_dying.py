"""A process that dies at each of its steps, in one of the ways in turn; in ``test_every_step.py`` in all of them."""

from __future__ import annotations

import pytest

from .dying import PASSES, ROWS, at_message, at_step, count_steps


async def test_each_step_of_the_store() -> None:
    steps = await count_steps()
    assert steps > 5 * len(ROWS)
    unknown = [await at_step(step, does_it=step % 2 == 0) for step in range(1, steps + 1)]
    assert sum(unknown) > 0  # or it has not died between the note and the answer


@pytest.mark.parametrize("number", range(1, len(ROWS) + 1))
async def test_each_message_that_was_accepted(number: int) -> None:
    await at_message(number, PASSES[number % len(PASSES)])
