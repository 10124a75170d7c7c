"""The commands of ``toolhouse-async batch`` and their options."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ..invocation import complete, example, service_options, settle_option, text_argument

__all__ = ["batch_command"]

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
_STORE: Final = click.option(
    "--store",
    default="batch.db",
    show_default=True,
    help="What was asked and answered: a SQLite file; for several machines a redis:// or postgresql:// URL.",
)


@click.group("batch", epilog=example("toolhouse-async batch run --help"))
def batch_command() -> None:
    """Ask a question for each row of a file, each once, whatever dies."""


@batch_command.command(
    "run",
    epilog=example(
        "toolhouse-async batch run cities.csv --agent AGENT_ID --template 'Where is {city}?' --out answers.csv"
    ),
)
@click.argument("rows", type=click.Path(path_type=Path))
@click.option("--agent", "agent_id", required=True, help="The worker's id or URL.")
@click.option("--template", help="The message: {column} stands for what the row has there; {} for a row of text.")
@click.option("--out", type=click.Path(path_type=Path), help="The file for the answers: .jsonl or .csv.")
@click.option("--parse", is_flag=True, help="Write answers as the JSON that they hold.")
@_STORE
@click.option("--name", help="The batch's name (default: that of the file without its ending).")
@click.option("--key", help="The column by which a row is known again (default: its number).")
@click.option("--concurrency", type=click.IntRange(min=1), default=10, show_default=True, help="Rows at once.")
@click.option("--rate", help="Messages begun in a time, such as 2/s, 90/min or 1000/h (default: as there is room).")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for each row.")
@settle_option
@click.option("--retry-unknown", is_flag=True, help="Ask again where nobody knows whether a message was accepted.")
@service_options
def run_command(*, rows: Path, rate: str | None, name: str | None, **options: Any) -> int:
    """Ask the worker a question for each of ROWS: a .csv file with a header, or a .jsonl file of objects or strings.

    Start it again, and it goes on where it was stopped; start it on several machines, and they share the rows. The
    answers are written when all rows are over, in their order, with the columns status, answer and error behind theirs.
    Ctrl-C or SIGTERM finishes what is under way; a second one ends it.
    """
    from .running import Request, run

    if options["template"] is not None:
        options["template"] = text_argument(options["template"])
    return complete(run(Request(path=rows, name=rows.stem if name is None else name, rate=_rate(rate), **options)))


def _named(command: F) -> F:
    words = "The batch's name: that of the file of rows without its ending, unless another was given to 'batch run'. "
    words += "Without it, the only one is taken, or the names are listed."
    option = click.option("--name", help=words)
    return _STORE(option(command))


@batch_command.command("status", epilog=example("toolhouse-async batch status --name cities"))
@_named
def status_command(*, store: str, name: str | None) -> int:
    """Say how far a batch is, in all processes; the rows are not needed for it."""
    from .running import tell_status

    return complete(tell_status(store, name))


@batch_command.command("failed", epilog=example("toolhouse-async batch failed --name cities"))
@_named
def failed_command(*, store: str, name: str | None) -> int:
    """List the rows that failed, and those of unknown outcome, each as a line of JSON."""
    from .running import list_failed

    return complete(list_failed(store, name))


@batch_command.command("retry", epilog=example("toolhouse-async batch retry --name cities"))
@_named
def retry_command(*, store: str, name: str | None) -> int:
    """Have all rows that failed asked again by the next 'batch run' of the same worker.

    One whose message was accepted is not asked again: its answer is looked for once more. To send such rows anew, run a
    file of them alone with another --name. A 'batch run' that is under way leaves rows to the next one that it has come
    to already.
    """
    from .running import retry

    return complete(retry(store, name))


def _rate(given: str | None) -> float | None:
    """Messages a second."""
    if given is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)/(s|min|h)", given)
    if match is None or not float(match[1]):
        hint = f": write {given}/s for so many a second" if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", given) else ""
        raise click.BadParameter(f"{given!r:.80} is none such as 2/s, 90/min or 1000/h{hint}", param_hint="--rate")
    return float(match[1]) / _SECONDS[match[2]]
