"""The commands as click itself describes them; without Sphinx, so that the tests can ask."""

from __future__ import annotations

from collections.abc import Iterator

import click
from attrs import frozen

from toolhouse_async._cli.app import commands

PROGRAM = "toolhouse-async"


@frozen
class Described:
    """What the help of a command says.

    Attributes:
        name: The words by which it is called.
        usage: Its usage, without the word for it.
        paragraphs: What it does.
        example: A line that shows how it is called; empty without one.
        options: Each option with what it means, and each argument of which that is said.
        commands: The names of its own commands, each with what it does in a sentence.
    """

    name: str
    usage: str
    paragraphs: tuple[str, ...]
    example: str
    options: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]


def described(command: click.Command = commands, parent: click.Context | None = None) -> Iterator[Described]:
    """Yield what the help of a command says, and that of its commands after it."""
    name = command.name if parent else PROGRAM
    context = click.Context(command, parent, name, terminal_width=10_000, **command.context_settings)
    own = command.commands if isinstance(command, click.Group) else {}
    records = (option.get_help_record(context) for option in command.get_params(context))
    yield Described(
        name=context.command_path,
        usage=command.get_usage(context).removeprefix("Usage: "),
        paragraphs=tuple(" ".join(part.split()) for part in (command.help or "").split("\n\n")),
        example=_example(command.epilog or ""),
        options=tuple((names, " ".join(says.split())) for names, says in filter(None, records) if says),
        commands=tuple((name, each.get_short_help_str(10_000)) for name, each in sorted(own.items())),
    )
    for each in own.values():
        yield from described(each, context)


def _example(epilog: str) -> str:
    """The line below ``Example:`` in what stands below a command's help."""
    _, _, below = epilog.partition("Example:")
    return below.strip()
