"""Which run a command is about: a worker and a run id, or the token of a job."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
from attrs import frozen

from ..._values.results import JobToken
from ..invocation import text_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Target", "read_target"]


@frozen
class Target:
    """A run: its worker, its id, and the token by which it was named, if it was."""

    agent_id: str
    run_id: str
    token: JobToken | None = None

    def command(self, name: str, *further: str) -> str:
        """The words of a command about this run, as a shell takes them."""
        return shlex.join(["toolhouse-async", name, self.agent_id, self.run_id, *further])


def read_target(words: Sequence[str]) -> Target:
    """Read the arguments ``TOKEN`` or ``AGENT_ID RUN_ID``.

    Raises:
        click.UsageError: They are neither.
        ConfigurationError: The token is none.
    """
    words = [text_argument(word) for word in words]
    if len(words) == 1:
        if not words[0].lstrip().startswith("{"):
            raise click.UsageError(
                "one argument is a job token, which is JSON; else give the worker and the run id "
                "('sessions show KEY' has them for a key of a store)"
            )
        token = JobToken.from_json(words[0])
        return Target(token.agent_id, token.run_id, token)
    if len(words) != 2:
        raise click.UsageError("give a job token, or the worker and the run id")
    return Target(words[0], words[1])
