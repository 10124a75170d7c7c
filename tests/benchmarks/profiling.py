"""Where the time goes: ``python -m tests.benchmarks.profiling CONTESTANT PLAN [TURNS]``.

``CONTESTANT`` is the name of a function in ``contestants``, ``PLAN`` a plan as the server reads it, such as
``burst-20000-20-0-0`` or ``burst-3-1-0-0``. It prints the functions that took most time themselves.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys

from . import contestants
from .machine import pin, serving
from .plans import Plan


async def profiled(url: str, contestant: contestants.Contestant, plan: Plan, turns: int) -> cProfile.Profile:
    """Profile turns on a connection that has been used before."""
    profile = cProfile.Profile()
    async with contestant(url) as consume:
        await consume(plan)
        profile.enable()
        for _ in range(turns):
            await consume(plan)
        profile.disable()
    return profile


def main() -> None:
    """The command."""
    name, plan, *turns = sys.argv[1:]
    with serving(pin()) as url:
        profile = asyncio.run(
            profiled(url, getattr(contestants, name), Plan.parse(plan), int(turns[0]) if turns else 1)
        )
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
