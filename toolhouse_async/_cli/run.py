"""``toolhouse-async run``: one turn against any Workers API."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import Any, Literal

import attrs

from .. import AsyncToolhouse, Turn
from .. import events as ev
from ..errors import ConfigurationError, ResumeUncertainError, ToolhouseError
from .jsonlines import event_line, failure_line
from .streams import OutputError
from .terminal import described, fail, harmless, one_line

__all__ = ["Request", "run"]


@attrs.frozen(kw_only=True)
class Request:
    """What the command line asks for."""

    agent_id: str
    message: str | None
    base_url: str | None
    api_key: str | None
    allow_insecure: bool
    format: Literal["ndjson", "text"]
    run_id: str | None
    timeout: float | None
    vars: dict[str, Any] | None
    json: bool


async def run(request: Request) -> int:
    """Do one turn: the worker's words (or, as JSON, every event) to stdout, notices to stderr.

    A turn that ends before its time leaves on stderr's last line its run id and the command that goes on with it.

    Returns:
        The exit status: 0, or 1 where the turn failed; what had come by then is printed.

    Raises:
        ConfigurationError: An argument is wrong; nothing was sent.
        OutputError: Stdout cannot be written to.

    Cancelling ends the turn.
    """
    show = _show_json if request.json else _Words()
    async with (
        AsyncToolhouse(request.api_key, base_url=request.base_url, allow_insecure=request.allow_insecure) as toolhouse,
        toolhouse.session(request.agent_id, run_id=request.run_id, vars=request.vars) as session,
    ):
        turn = session.stream(request.message, format=request.format, timeout=request.timeout)
        begun = False
        try:
            try:
                async with turn:
                    async for event in turn:
                        begun = begun or isinstance(event, ev.TurnStarted)
                        show(event)
            finally:
                if isinstance(show, _Words):
                    show.end_line()
        except ConfigurationError:
            raise
        except OutputError as error:
            if turn.run_id is None or error.reader_left:
                raise
            raise OutputError(f"{error} (run {turn.run_id})") from error
        except (ToolhouseError, asyncio.CancelledError) as error:
            _tell(error, request, turn, begun=begun)
            if isinstance(error, asyncio.CancelledError):
                raise
            return 1
    return 0


def _tell(error: ToolhouseError | asyncio.CancelledError, request: Request, turn: Turn, *, begun: bool) -> None:
    """Say that a turn ended before its time, and, where its run is known, how to go on."""
    if request.json:
        sys.stdout.write(failure_line(error, turn.run_id))
        sys.stdout.flush()
    if isinstance(error, ToolhouseError):
        fail(described(error))
    if turn.run_id is not None and (begun or turn.job_id is not None):
        job_runs = turn.job_id is not None and not isinstance(error, ResumeUncertainError)
        print(_way_on(request, turn.run_id, job_runs=job_runs), file=sys.stderr, flush=True)


def _way_on(request: Request, run_id: str, *, job_runs: bool) -> str:
    """The command that goes on with a run, without the key.

    An empty message waits for a job and resumes the worker, as this turn would have done; where no job runs, the
    user is to say what comes next.
    """
    options = ["--run-id", run_id]
    if request.base_url is not None:
        options += ["--base-url", request.base_url]
    if request.allow_insecure:
        options.append("--allow-insecure")
    if request.api_key == "":
        options += ["--api-key", ""]
    if request.format != "ndjson":
        options += ["--format", request.format]
    if request.json:
        options.append("--json")
    command = shlex.join(["toolhouse-async", "run", *options, "--", request.agent_id, "" if job_runs else "MESSAGE"])
    what = "has a background job; wait for it" if job_runs else "can be continued"
    return harmless(f"Run {run_id} {what} with: {command}")


def _show_json(event: ev.Event) -> None:
    sys.stdout.write(event_line(event))
    sys.stdout.flush()


class _Words:
    """The worker's words on stdout, everything else as notices on stderr."""

    def __init__(self) -> None:
        self._open = False

    def __call__(self, event: ev.Event) -> None:
        match event:
            case ev.TextDelta(text):
                sys.stdout.write(harmless(text))
                sys.stdout.flush()
                self._open = not text.endswith("\n")
            case ev.ToolCall(name=name):
                self._notice(f"tool call: {name}")
            case ev.JobStarted(job_id):
                self._notice(f"job {job_id} runs in the background")
            case ev.JobProgress(elapsed=elapsed, polls=polls, next_poll=next_poll):
                self._notice(f"still running after {elapsed:.1f} s, poll {polls}, next in {next_poll:.1f} s")
            case ev.JobFinished(elapsed=elapsed):
                self._notice(f"job over after {elapsed:.1f} s")
            case ev.TurnResumed():
                self._notice("resumed")
            case ev.TurnCompleted(result):
                self._notice(f"run id: {result.run_id}")
            case _:
                pass

    def end_line(self) -> None:
        """Begin what comes next on a line of its own."""
        if self._open:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._open = False

    def _notice(self, text: str) -> None:
        if sys.stdout.isatty():
            self.end_line()
        sys.stderr.write(f"[{one_line(text, 200)}]\n")
        sys.stderr.flush()
