"""Measures again, and prints the tables as the page has to have them.

``python -m tests.frameworks.compared [CLIENT ...]``: of all clients, or of some, by the names of their packages.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable

from tests.support.virtual_time import VirtualTimeLoop

from .programs import PROGRAMS
from .tables import SETTINGS, TABLES, shown


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def head(*cells: str) -> Iterable[str]:
    """The two lines that begin a table, and the empty one before it."""
    return "", row(*cells), "|---" * len(cells) + "|"


async def lines(names: Iterable[str]) -> AsyncIterator[str]:
    """The lines of all tables for those clients."""
    programs = [PROGRAMS[name]() for name in names]
    for line in head("client", "measured with"):
        yield line
    for program in programs:
        yield row(shown(program.package), program.version)
    for first, rows in TABLES.items():
        for line in head(first, *(shown(program.package) for program in programs)):
            yield line
        for what, measure in rows.items():
            yield row(what, *[await measure(program) for program in programs])
    for line in head("number", "client", "setting", "moment", "then"):
        yield line
    for number, (name, words, settings, moment, measure) in enumerate(SETTINGS, 1):
        if name in names:
            yield row(str(number), shown(name), words, moment, await measure(PROGRAMS[name](**settings)))


async def main(names: Iterable[str]) -> None:
    """Print them."""
    async for line in lines(names):
        print(line)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main(sys.argv[1:] or list(PROGRAMS)))
