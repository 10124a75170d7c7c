"""The commands and their options."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from ..errors import ConfigurationError, ToolhouseError
from .analysis import PENGUINS
from .statuses import MEANINGS, Status
from .terminal import described, fail

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["run_command_line"]

_STATUSES = "\n".join(["\b", "Exit statuses:", *(f"  {status:<3}  {MEANINGS[status]}" for status in Status)])


def run_command_line() -> int:
    """Run the command that the arguments name.

    Returns:
        The exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        OutputError: Stdout cannot be written to.
    """
    try:
        status = commands.main(standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigurationError as error:
        fail(str(error))
        return Status.USAGE
    except ToolhouseError as error:
        fail(described(error))
        return Status.FAILED
    except asyncio.CancelledError:
        return Status.TERMINATED
    return status if isinstance(status, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_STATUSES)
@click.version_option(package_name="toolhouse-async")
def commands() -> None:
    """Workers of Toolhouse from the command line."""


@commands.command("demo")
@click.argument("csv", required=False, type=click.Path(path_type=Path), default=PENGUINS)
@click.option("--column", help="The histogram's column (default: the first that looks like a measurement).")
@click.option("--web", is_flag=True, help="Serve a chat for the browser, and print its address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --web: the port (default: any free one).")
def demo_command(csv: Path, column: str | None, *, web: bool, port: int) -> int:
    """Watch a worker analyse a CSV file: words, tool calls, background jobs, resumes, figures.

    Needs no account: an embedded Workers API serves the worker on this machine. Without CSV it is asked
    about 344 penguins.
    """
    if web:
        from .demo_web import demo_web

        return asyncio.run(demo_web(port, _absolute(csv)))
    from .demo import demo

    return _complete(demo(_absolute(csv), column))


@commands.command("run")
@click.argument("agent_id")
@click.argument("message", required=False)
@click.option("--base-url", help="The Workers API (default: $TOOLHOUSE_BASE_URL or Toolhouse's own).")
@click.option("--api-key", help="The key; better set $TOOLHOUSE_API_KEY. Empty for a public worker.")
@click.option("--allow-insecure", is_flag=True, help="Allow http:// to other machines than this one.")
@click.option(
    "--format", type=click.Choice(["ndjson", "text"]), default="ndjson", show_default=True, help="The endpoint family."
)
@click.option("--run-id", help="Continue this conversation.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for the whole turn.")
@click.option("--vars", "variables", help="Variables for the worker, as a JSON object.")
@click.option("--json", "as_json", is_flag=True, help="Print every event as a line of JSON.")
def run_command(
    *,
    agent_id: str,
    message: str | None,
    base_url: str | None,
    api_key: str | None,
    allow_insecure: bool,
    format: Literal["ndjson", "text"],  # noqa: A002 - the option's name
    run_id: str | None,
    timeout: float | None,
    variables: str | None,
    as_json: bool,
) -> int:
    """Send MESSAGE to a worker and print its answer, background jobs and resumes included.

    MESSAGE comes from stdin where it is not given and stdin is not a terminal. Notices go to stderr.
    """
    from .run import Request, run

    request = Request(
        agent_id=agent_id,
        message=_from_stdin() if message is None else _argument(message),
        vars=None if variables is None else _object(variables),
        base_url=base_url,
        api_key=api_key,
        allow_insecure=allow_insecure,
        format=format,
        run_id=run_id,
        timeout=timeout,
        json=as_json,
    )
    return _complete(run(request))


@commands.command("emulator")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port (default: any free one).")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--api-key", help="The key that requests must carry (default: none is asked for).")
def emulator_command(port: int, host: str, api_key: str | None) -> int:
    """Serve a Workers API on this machine, with workers to talk to, until Ctrl-C."""
    from .emulator import serve

    _absolute(Path())  # the folder whose files its worker reads
    return asyncio.run(serve(host, port, api_key))


def _complete(work: Coroutine[Any, Any, int]) -> int:
    """Run work to its end; SIGTERM cancels it, so that it cleans up as after Ctrl-C."""

    async def cancellable() -> int:
        task = asyncio.current_task()
        with suppress(NotImplementedError):  # an event loop of Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # type: ignore[union-attr]
        return await work

    try:
        return asyncio.run(cancellable())
    except KeyboardInterrupt:  # click would print a blank line
        return Status.INTERRUPTED


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError as error:
        raise click.UsageError("the current folder has been removed") from error


def _from_stdin() -> str | None:
    if sys.stdin is None or sys.stdin.isatty():
        return None
    try:
        return sys.stdin.buffer.read().decode().rstrip("\r\n") or None
    except UnicodeDecodeError as error:
        raise click.UsageError("the message on stdin is not UTF-8 text") from error
    except OSError as error:
        raise click.UsageError(f"stdin cannot be read: {error.strerror or error}") from error


def _argument(text: str) -> str:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise click.UsageError("the message is not text in this terminal's encoding")
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        value: Any = json.loads(text)  # orjson makes floats of large integers
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--vars") from error
    if not isinstance(value, dict):
        raise click.BadParameter("not a JSON object", param_hint="--vars")
    return cast("dict[str, Any]", value)
