"""The commands and their options."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal, cast

import click

from ..errors import ConfigurationError, ToolhouseError
from .analysis import PENGUINS
from .batch.commands import batch_command
from .completion import PROGRAM, completed, completion_command
from .conversation.command import chat_command
from .invocation import SECONDS, check_needs, complete, service_options, settle_option, text_argument
from .runs.commands import history_command, reconcile_command, status_command, wait_command
from .sessions.commands import sessions_command
from .statuses import MEANINGS, Status, status_of

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
    if (status := completed(commands)) is not None:
        return status
    try:
        status = commands.main(prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigurationError as error:
        from .terminal import in_options

        _fail(in_options(str(error)))
        return Status.USAGE
    except ToolhouseError as error:
        from .terminal import described

        _fail(described(error))
        return status_of(error)
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
@click.pass_context
def demo_command(context: click.Context, csv: Path, column: str | None, *, web: bool, port: int) -> int:
    """Watch a worker analyse a CSV file: words, tool calls, background jobs, resumes, figures.

    Needs no account: an embedded Workers API serves the worker on this machine. Without CSV it is asked
    about 344 penguins.
    """
    if web:
        if column is not None:
            raise click.UsageError("--column is for the demonstration without --web")
        from .demo_web import demo_web

        return asyncio.run(demo_web(port, _absolute(csv)))
    check_needs(context, "--web", "--port")
    from .demo import demo

    return complete(demo(_absolute(csv), column))


@commands.command("run")
@click.argument("agent_id")
@click.argument("message", required=False)
@service_options
@click.option(
    "--format", type=click.Choice(["ndjson", "text"]), default="ndjson", show_default=True, help="The endpoint family."
)
@click.option("--run-id", help="Continue this conversation.")
@click.option("--timeout", type=SECONDS, help="Seconds for the whole turn.")
@settle_option
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
    settle: bool,
    variables: str | None,
    as_json: bool,
) -> int:
    """Send MESSAGE to a worker and print its answer, background jobs and resumes included.

    Without MESSAGE, it is read from stdin, and an empty stdin is refused. Where stdin is a terminal, or MESSAGE is "",
    the worker is started without a message. Notices go to stderr.

    The status is 0 with the answer, 1 if the message was not accepted, or a worker or a service failed, 3 if it was
    accepted and its answer is not complete, 4 if nobody knows whether it was accepted: stderr says whether it may be
    sent again.
    """
    from .keyfile import find_key
    from .run import Request, run

    request = Request(
        agent_id=agent_id,
        message=_from_stdin() if message is None else text_argument(message) or None,
        vars=None if variables is None else _object(variables),
        base_url=base_url,
        api_key=find_key(api_key, base_url),
        allow_insecure=allow_insecure,
        format=format,
        run_id=run_id,
        timeout=timeout,
        settle=settle,
        json=as_json,
    )
    return complete(run(request))


@commands.command("emulator")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port (default: any free one).")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--api-key", help="The key that requests must carry (default: none is asked for).")
def emulator_command(port: int, host: str, api_key: str | None) -> int:
    """Serve a Workers API on this machine, with workers to talk to, until Ctrl-C."""
    from .emulator import serve

    _absolute(Path())  # the folder whose files its worker reads
    return asyncio.run(serve(host, port, api_key))


@commands.command("serve-openai")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="NAME=AGENT_ID",
    help="A model and the worker that it is; once for each.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port (default: any free one).")
@click.option(
    "--client-key",
    envvar="TOOLHOUSE_CLIENT_KEY",
    help="The key that clients must send; better set $TOOLHOUSE_CLIENT_KEY (default: none is asked for).",
)
@click.option("--base-url", help="The Workers API (default: $TOOLHOUSE_BASE_URL or Toolhouse's own).")
@click.option(
    "--api-key", help="Your own key (default: $TOOLHOUSE_API_KEY, or the one of 'th login'). Empty for public workers."
)
@click.option("--allow-insecure", is_flag=True, help="Allow http:// to another Workers API than this machine's.")
def serve_openai_command(
    *,
    models: tuple[str, ...],
    host: str,
    port: int,
    client_key: str | None,
    base_url: str | None,
    api_key: str | None,
    allow_insecure: bool,
) -> int:
    """Serve workers as the models of OpenAI's APIs, Responses and Chat Completions, until Ctrl-C.

    Any client of OpenAI's can talk to them: its base URL is the address that is printed.
    """
    from .keyfile import find_key
    from .serve_openai import Service, serve_openai

    service = Service(
        models=_models(models),
        host=host,
        port=port,
        client_key=client_key or None,
        base_url=base_url,
        api_key=find_key(api_key, base_url),
        allow_insecure=allow_insecure,
    )
    return asyncio.run(serve_openai(service))


def _models(given: tuple[str, ...]) -> dict[str, str]:
    """The workers by the names of their models."""
    models: dict[str, str] = {}
    for each in given:
        name, _, agent_id = each.partition("=")
        if not name or not agent_id:
            raise click.BadParameter(f"{each!r:.200} is not NAME=AGENT_ID", param_hint="--model")
        if name in models:
            raise click.BadParameter(f"{name!r:.200} is given twice", param_hint="--model")
        models[name] = agent_id
    return models


@commands.command("mcp")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    required=True,
    metavar="NAME=AGENT_ID=DESCRIPTION",
    help="A worker to offer: the tool's name, the worker's id or URL, and what it can do. Once for each.",
)
@service_options
@click.option("--http", is_flag=True, help="Serve streamable HTTP, and print the address.")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --http: the address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --http: the port (default: any free one).")
@click.option(
    "--token",
    envvar="TOOLHOUSE_MCP_TOKEN",
    help="With --http: the bearer token that requests must carry (default: none is asked for); "
    "better set $TOOLHOUSE_MCP_TOKEN.",
)
@click.pass_context
def mcp_command(
    context: click.Context,
    *,
    workers: tuple[str, ...],
    base_url: str | None,
    api_key: str | None,
    allow_insecure: bool,
    http: bool,
    host: str,
    port: int,
    token: str | None,
) -> int:
    """Offer workers as tools to programs that speak the Model Context Protocol.

    It speaks on stdin and stdout, until stdin ends; with --http on a port, until Ctrl-C. Notices go to stderr.
    """
    from .keyfile import find_key
    from .mcp_server.workers import read_workers

    if not http:
        check_needs(context, "--http", "--host", "--port", "--token")
    try:
        offered = read_workers(map(text_argument, workers))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--worker") from error
    try:
        from .mcp_server.serving import Service, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mcp":
            raise
        _fail("the server needs mcp, which the extra [mcp] installs: pip install 'toolhouse-async[mcp]'")
        return Status.USAGE
    service = Service(
        workers=offered,
        base_url=base_url,
        api_key=find_key(api_key, base_url),
        allow_insecure=allow_insecure,
        http=http,
        host=host,
        port=port,
        token=token or None,
    )
    return asyncio.run(serve(service))


for each in (chat_command, history_command, status_command, wait_command, reconcile_command, sessions_command):
    commands.add_command(each)
commands.add_command(batch_command)
commands.add_command(completion_command)


def _fail(message: str) -> None:
    from .terminal import fail  # here, since rich takes longer to load than the help to print

    fail(message)


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError as error:
        raise click.UsageError("the current folder has been removed") from error


def _from_stdin() -> str | None:
    if sys.stdin is not None and sys.stdin.isatty():
        return None
    try:
        message = "" if sys.stdin is None else sys.stdin.buffer.read().decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.UsageError("the message on stdin is not UTF-8 text") from error
    except OSError as error:
        raise click.UsageError(f"stdin cannot be read: {error.strerror or error}") from error
    if not message:  # as that of a pipe whose command has failed
        raise click.UsageError('there is no message on stdin: give MESSAGE, or "" to start the worker without one')
    return message


def _object(text: str) -> dict[str, Any]:
    try:
        value: Any = json.loads(text)  # orjson makes floats of large integers
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--vars") from error
    if not isinstance(value, dict):
        raise click.BadParameter("not a JSON object", param_hint="--vars")
    return cast("dict[str, Any]", value)
