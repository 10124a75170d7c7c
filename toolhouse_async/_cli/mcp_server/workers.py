"""Workers that are offered as tools, as the command line names them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Worker", "read_workers"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
"""What the protocol allows as a tool's name."""


@frozen
class Worker:
    """A worker that is offered as a tool.

    Attributes:
        name: The tool's name.
        agent_id: The worker's id or URL.
        description: What it can do, for the models that choose among tools.
    """

    name: str
    agent_id: str
    description: str


def read_workers(values: Iterable[str]) -> dict[str, Worker]:
    """Read ``NAME=AGENT_ID=DESCRIPTION`` of each worker; a description may have further ``=``.

    Returns:
        The workers by their names, in order.

    Raises:
        ValueError: One is not of that form, or a name is not allowed or given twice.
    """
    workers: dict[str, Worker] = {}
    for value in values:
        name, *others = (part.strip() for part in value.split("=", 2))
        if len(others) != 2 or not all((name, *others)):
            raise ValueError(f"not NAME=AGENT_ID=DESCRIPTION: {value!r:.200}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a tool's name: {name!r:.200} (expected 1 to 128 of A-Z a-z 0-9 _ . -)")
        if name in workers:
            raise ValueError(f"two workers have the name {name!r}")
        workers[name] = Worker(name, *others)
    return workers
