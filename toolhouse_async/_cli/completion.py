"""``toolhouse-async completion``: what makes a shell complete the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from .invocation import example
from .statuses import Status

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

__all__ = ["PROGRAM", "completed", "completion_command"]

PROGRAM: Final = "toolhouse-async"
"""The name by which people call the command line."""

_VARIABLE: Final = "_TOOLHOUSE_ASYNC_COMPLETE"
"""By which click learns from the script that the shell asks for completions."""


def completed(root: click.Command) -> int | None:
    """Print the completions that a shell asks for by its script, if one does.

    Click itself would write bytes to stdout, which takes text.

    Returns:
        The exit status; ``None`` where no shell asks.
    """
    shell, _, what = os.environ.get(_VARIABLE, "").partition("_")
    if not shell:
        return None
    asked = _of_shell(root, shell)
    if asked is None or what != "complete":
        return Status.FAILED
    print(asked.complete())
    return Status.DONE


@click.command("completion", epilog=example('eval "$(toolhouse-async completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> int:
    """Print a script that completes commands and options in SHELL; the example is for ~/.bashrc."""
    asked = _of_shell(context.find_root().command, shell)
    assert asked is not None  # noqa: S101 - click knows these
    print(asked.source())
    return Status.DONE


def _of_shell(root: click.Command, shell: str) -> ShellComplete | None:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    return None if kind is None else kind(root, {}, PROGRAM, _VARIABLE)
