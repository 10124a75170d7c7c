"""The command ``sessions``, its own commands, and their options."""

from __future__ import annotations

from typing import Any

import click
from attrs import evolve

from ..invocation import complete, example, text_argument
from .opening import Named

__all__ = ["sessions_command"]


class _Command(click.Command):
    """A command that takes the options of the store behind its name too; its help does not list them again."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for name in ("--store", "--prefix"):
            self.params.append(click.Option([name], hidden=True, expose_value=False, callback=_name))


def _name(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = evolve(context.obj, **{str(option.name): value})


class _Group(click.Group):
    command_class = _Command


@click.group("sessions", cls=_Group, epilog=example("toolhouse-async sessions --store sessions.db list"))
@click.option(
    "--store",
    envvar="TOOLHOUSE_STORE",
    help="The store of your program: a SQLite file, or a redis:// or postgresql:// URL (default: $TOOLHOUSE_STORE).",
)
@click.option("--prefix", help="The prefix of a store on a Redis server (default: toolhouse).")
@click.pass_context
def sessions_command(context: click.Context, store: str | None, prefix: str | None) -> None:
    """Look after the keys of a session store, without the program that uses it."""
    context.obj = Named(store, prefix)


_agent = click.option("--agent", "agent_id", metavar="AGENT_ID", help="The worker (default: all that the store has).")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@sessions_command.command("list", epilog=example("TOOLHOUSE_STORE=sessions.db toolhouse-async sessions list --json"))
@_agent
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object in a line for each key.")
@click.pass_obj
def list_command(store: Named, *, agent_id: str | None, as_json: bool) -> int:
    """Print every key with its worker, its run, its state, and its age.

    A state is held (a process has the key), unknown (nobody knows whether its last message was accepted), unseen
    (nobody has seen the answer to it), job (a background job is open), unreadable, or idle; the age is the time since
    the key was last let go.
    """
    from .acting import list_keys

    return complete(list_keys(store, agent_id, as_json=as_json))


@sessions_command.command(
    "show", epilog=example("TOOLHOUSE_STORE=sessions.db toolhouse-async sessions show telegram:42")
)
@click.argument("key")
@_agent
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show_command(store: Named, *, key: str, agent_id: str | None, as_json: bool) -> int:
    """Print all that is known of KEY: who has it, its job and that job's token, its open message."""
    from .acting import show_key

    return complete(show_key(store, text_argument(key), agent_id, as_json=as_json))


@sessions_command.command(
    "unlock", epilog=example("TOOLHOUSE_STORE=sessions.db toolhouse-async sessions unlock telegram:42")
)
@click.argument("key")
@_agent
@_yes
@click.pass_obj
def unlock_command(store: Named, *, key: str, agent_id: str | None, yes: bool) -> int:
    """Take KEY from a process that has it and that you know to be gone.

    Leases do that by themselves, half a minute after a process has stopped. One that lives all the same loses the key,
    and what it was sending counts as of unknown outcome.
    """
    from .acting import unlock_key

    return unlock_key(store, text_argument(key), agent_id, yes=yes)


@sessions_command.command(
    "forget", epilog=example("TOOLHOUSE_STORE=sessions.db toolhouse-async sessions forget telegram:42 --yes")
)
@click.argument("key")
@_agent
@_yes
@click.pass_obj
def forget_command(store: Named, *, key: str, agent_id: str | None, yes: bool) -> int:
    """Forget KEY, so that its next message begins a new conversation; the old one stays at the service."""
    from .acting import forget_key

    return forget_key(store, text_argument(key), agent_id, yes=yes)
