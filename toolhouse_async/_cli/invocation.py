"""What commands have in common: the options that lead to a service, and how work is run to its end."""

from __future__ import annotations

import asyncio
import math
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from .statuses import Status
from .stopping import without_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._client import AsyncToolhouse

__all__ = [
    "SECONDS",
    "check_needs",
    "complete",
    "example",
    "open_client",
    "service_options",
    "service_words",
    "settle_option",
    "text_argument",
]

Command = TypeVar("Command", bound="Callable[..., Any]")


class _Seconds(click.FloatRange):
    """Seconds above zero that end: ``nan`` and ``inf`` are numbers for Python."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            float(value)
        except ValueError:
            number = math.nan
        else:
            number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return number


SECONDS: Final = _Seconds(min=0, min_open=True)
"""The type of an option that is a time."""


settle_option: Final = click.option(
    "--settle", is_flag=True, help="Look for jobs that begin behind words: ten seconds more for each answer."
)
"""The option that has every answer's end looked at in the history."""


def check_needs(context: click.Context, needed: str, *options: str) -> None:
    """Refuse options that were given without the one that they are about; those of the environment are no mistake.

    Raises:
        click.UsageError: One was.
    """
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and (name := parameter.opts[0]) in options:
            raise click.UsageError(f"{name} needs {needed}")


def example(line: str) -> str:
    """What stands below a command's help: a line that shows how it is called."""
    return f"\b\nExample:\n  {line}"


def service_options(command: Command) -> Command:
    """Give a command the options ``--base-url``, ``--api-key`` and ``--allow-insecure``."""
    for option in (
        click.option("--allow-insecure", is_flag=True, help="Allow http:// to other machines than this one."),
        click.option(
            "--api-key",
            help="The key (default: $TOOLHOUSE_API_KEY, or the one of 'th login'). Empty for a public worker.",
        ),
        click.option("--base-url", help="The Workers API (default: $TOOLHOUSE_BASE_URL or Toolhouse's own)."),
    ):
        command = option(command)
    return command


def service_words(base_url: str | None, api_key: str | None, *, allow_insecure: bool) -> tuple[str, ...]:
    """The options that lead another command to the same service, without the key."""
    words: list[str] = []
    if base_url is not None:
        words += ["--base-url", base_url]
    if allow_insecure:
        words.append("--allow-insecure")
    if api_key == "":
        words += ["--api-key", ""]
    return tuple(words)


def open_client(base_url: str | None, api_key: str | None, *, allow_insecure: bool, **settings: Any) -> AsyncToolhouse:
    """Make the client that the options ask for.

    Args:
        base_url: The option ``--base-url``.
        api_key: The option ``--api-key``.
        allow_insecure: The option ``--allow-insecure``.
        **settings: Further arguments of the client.

    Raises:
        ConfigurationError: There is no key, or a setting is wrong.
    """
    from .._client import AsyncToolhouse
    from .keyfile import find_key

    key = find_key(api_key, base_url)
    return AsyncToolhouse(key, base_url=base_url, allow_insecure=allow_insecure, **settings)


def text_argument(text: str) -> str:
    """Return an argument that is text.

    Raises:
        click.UsageError: The terminal's encoding could not read it.
    """
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise click.UsageError("an argument is not text in this terminal's encoding")
    return text


def complete(work: Coroutine[Any, Any, int]) -> int:
    """Run work to its end; Ctrl-C and SIGTERM cancel it, so that it cleans up. A second Ctrl-C ends it at once.

    Returns:
        Its exit status; that of an interruption where it ends by Ctrl-C.
    """
    interrupted = False

    async def cancellable() -> int:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - this runs in one

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            task.cancel()

        def terminate() -> None:
            task.cancel()

        # Not as `asyncio.run` does it, which cancels between any two instructions, of aiohttp's too.
        def interrupt_soon(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            loop.call_soon_threadsafe(interrupt)

        before = signal.getsignal(signal.SIGINT)
        with suppress(NotImplementedError):  # an event loop of Windows
            loop.add_signal_handler(signal.SIGTERM, without_repeats(terminate))
        try:
            if before != signal.SIG_IGN:
                signal.signal(signal.SIGINT, interrupt_soon)
            return await work
        finally:
            signal.signal(signal.SIGINT, before)

    try:
        return asyncio.run(cancellable())
    except KeyboardInterrupt:  # click would print a blank line
        return Status.INTERRUPTED
    except asyncio.CancelledError:
        if interrupted:
            return Status.INTERRUPTED
        raise
