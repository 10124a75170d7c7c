"""What is measured ends, in every shape that is measured."""

from __future__ import annotations

import asyncio

from .contestants import ours
from .machine import cores, serving
from .plans import Plan
from .shapes import SHAPES

REAL_TIME = True


async def test_an_answer_of_every_shape_ends() -> None:
    with serving(cores()[1]) as url:
        async with asyncio.timeout(50), ours(url) as consume:
            for shape in SHAPES:
                for tools in (0, 4):
                    assert await consume(Plan("burst", 10, tools=tools, shape=shape)) == 10
