"""The command ``chat`` and its options."""

from __future__ import annotations

import click

from ..invocation import complete, example, open_client, service_options, service_words, text_argument

__all__ = ["chat_command"]


@click.command("chat", epilog=example("toolhouse-async chat your-worker"))
@click.argument("agent_id")
@service_options
@click.option("--new", is_flag=True, help="Begin a new conversation.")
@click.option("--run-id", help="Go on with this conversation (default: the last one with this worker).")
def chat_command(
    *, agent_id: str, base_url: str | None, api_key: str | None, allow_insecure: bool, new: bool, run_id: str | None
) -> int:
    """Talk to a worker in the terminal, and go on where you left off.

    Ctrl-C stops an answer; at the prompt it leaves when pressed twice, as Ctrl-D does. Alt-Enter begins a new line.
    What begins with a slash is a command: /help lists them. Where stdin is no terminal, each line of it is a message.
    """
    from .opening import talk

    if new and run_id is not None:
        raise click.UsageError("--new and --run-id exclude each other")
    toolhouse = open_client(base_url, api_key, allow_insecure=allow_insecure)
    options = service_words(base_url, api_key, allow_insecure=allow_insecure)
    return complete(talk(toolhouse, text_argument(agent_id), base_url, options, run_id=run_id, new=new))
