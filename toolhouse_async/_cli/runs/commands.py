"""The commands ``history``, ``status``, ``wait`` and ``reconcile`` and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..invocation import SECONDS, complete, example, open_client, service_options, service_words, text_argument
from .target import Target, read_target

if TYPE_CHECKING:
    from .reading import Form

__all__ = ["history_command", "reconcile_command", "status_command", "wait_command"]


@click.command("history", epilog=example("toolhouse-async history your-worker run-1 --markdown > conversation.md"))
@click.argument("agent_id")
@click.argument("run_id")
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print it as the service has it: one JSON array.")
@click.option("--markdown", is_flag=True, help="Print it as a Markdown document.")
def history_command(
    *,
    agent_id: str,
    run_id: str,
    base_url: str | None,
    api_key: str | None,
    allow_insecure: bool,
    as_json: bool,
    markdown: bool,
) -> int:
    """Print the conversation RUN_ID with a worker."""
    from .reading import print_history

    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    form: Form = "json" if as_json else "markdown" if markdown else "text"
    toolhouse = open_client(base_url, api_key, allow_insecure=allow_insecure)
    return complete(print_history(toolhouse, Target(text_argument(agent_id), text_argument(run_id)), form))


@click.command("status", epilog=example("toolhouse-async status your-worker run-1"))
@click.argument("target", nargs=-1, required=True, metavar="{TOKEN | AGENT_ID RUN_ID}")
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status_command(
    *, target: tuple[str, ...], base_url: str | None, api_key: str | None, allow_insecure: bool, as_json: bool
) -> int:
    """Print whether a background job runs, since when if a TOKEN says so, the last message, and whose turn it is.

    Nothing is sent. The status is 3 while a job runs.
    """
    from .reading import print_status

    run = read_target(target, service_words(base_url, api_key, allow_insecure=allow_insecure))
    toolhouse = open_client(base_url, api_key, allow_insecure=allow_insecure)
    return complete(print_status(toolhouse, run, as_json=as_json))


@click.command("wait", epilog=example("toolhouse-async wait your-worker run-1 --timeout 600"))
@click.argument("target", nargs=-1, required=True, metavar="{TOKEN | AGENT_ID RUN_ID}")
@service_options
@click.option("--no-resume", is_flag=True, help="Only wait: send nothing, and print where the run stands.")
@click.option("--timeout", type=SECONDS, help="Seconds to wait (default: as long as the job runs).")
@click.option(
    "--json", "as_json", is_flag=True, help="Print every event as a line of JSON; with --no-resume as status does."
)
def wait_command(
    *,
    target: tuple[str, ...],
    base_url: str | None,
    api_key: str | None,
    allow_insecure: bool,
    no_resume: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Wait until a background job is over, resume its run, and print the answer.

    Where no job runs, the answer to the last message is printed; the run is resumed only if its history shows that it
    waits for that. The status is 0 with the answer, 3 if there is none by --timeout, 4 if nobody knows whether the
    resume was accepted, 1 if the wait failed.
    """
    from .waiting import PATIENT, wait

    options = service_words(base_url, api_key, allow_insecure=allow_insecure) + (("--json",) if as_json else ())
    run = read_target(target, options)
    toolhouse = open_client(base_url, api_key, allow_insecure=allow_insecure, polling=PATIENT)
    return complete(wait(toolhouse, run, resume=not no_resume, timeout=timeout, as_json=as_json))


@click.command("reconcile", epilog=example('toolhouse-async reconcile your-worker run-1 "Book a table for two"'))
@click.argument("agent_id")
@click.argument("run_id")
@click.argument("messages", nargs=-1, metavar="[MESSAGE]...")
@service_options
@click.option(
    "--timeout", type=SECONDS, help="Seconds for each message (default: 120, and as long as jobs run that it began)."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object in a line for each message.")
def reconcile_command(
    *,
    agent_id: str,
    run_id: str,
    messages: tuple[str, ...],
    base_url: str | None,
    api_key: str | None,
    allow_insecure: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Find out what became of MESSAGEs that another process has sent, and print their answers.

    Without a MESSAGE it is about the run's last one. Jobs are waited for, and the run is resumed where it waits for
    that; no message is sent again. The status is 0 if all are answered, 3 if one was accepted and its answer is not
    complete, 4 if nobody knows whether one was accepted, 1 if the service could not be asked.
    """
    from .reconciling import reconcile
    from .waiting import PATIENT

    said: list[str | None] = [text_argument(message) for message in messages]
    toolhouse = open_client(base_url, api_key, allow_insecure=allow_insecure, polling=PATIENT)
    options = service_words(base_url, api_key, allow_insecure=allow_insecure) + (("--json",) if as_json else ())
    target = Target(text_argument(agent_id), text_argument(run_id), options=options)
    return complete(reconcile(toolhouse, target, said or [None], timeout=timeout, as_json=as_json))
