"""Which run a command is about: a worker and a run id, or the token of a job."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import click
from attrs import frozen

from ..._values.results import JobToken
from ..._values.settings import RecoveryPolicy
from ..invocation import text_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IF_OVER", "SEARCH", "Target", "read_target"]

SEARCH: Final = f"{RecoveryPolicy().deadline:g}"
"""Seconds for which the history is read at most, by a client of these commands."""
IF_OVER: Final = f"(may take {SEARCH} s if the job is over by then)"
"""How long ``wait`` takes."""


@frozen
class Target:
    """A run: its worker, its id, and the token by which it was named, if it was.

    Attributes:
        options: What the commands that go on with it are given, but for the key.
    """

    agent_id: str
    run_id: str
    token: JobToken | None = None
    options: tuple[str, ...] = ()

    def command(self, name: str, *further: str) -> str:
        """The words of a command about this run, as a shell takes them."""
        from ..terminal import harmless  # here, since rich takes longer to load than the help to print

        words = ["toolhouse-async", name, *self.options, "--", self.agent_id, self.run_id, *further]
        return harmless(shlex.join(words))

    def way_on(self, *, job: bool) -> str:
        """Say which command waits for the job, or looks for an answer that was cut.

        It may be given again: what has its answer is not resumed once more.
        """
        what = f"has a background job; wait for it {IF_OVER}" if job else "was cut; get the rest of the answer"
        return f"Run {self.run_id} {what} with: {self.command('wait')}"

    def way_to_find_out(self, *messages: str) -> str:
        """Say which command looks what became of messages, or of the run's last one."""
        return f"Find out (may take {SEARCH} s) with: {self.command('reconcile', *messages)}"


def read_target(words: Sequence[str], options: tuple[str, ...] = ()) -> Target:
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
        return Target(token.agent_id, token.run_id, token, options)
    if len(words) != 2:
        raise click.UsageError("give a job token, or the worker and the run id")
    return Target(words[0], words[1], options=options)
