"""``toolhouse-async run``: one turn against any Workers API."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from typing import Any, Literal

import attrs

from .. import AsyncToolhouse, JobToken, Turn
from .. import events as ev
from ..errors import ConfigurationError, ToolhouseError, WorkerError
from .conversation.fates import Fate, fate_of, status_after
from .invocation import service_words
from .runs.target import Target
from .statuses import Status
from .streams import OutputError
from .telling import show_failure, show_json
from .terminal import harmless
from .words import Words

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
    settle: bool
    vars: dict[str, Any] | None
    json: bool


async def run(request: Request) -> int:
    """Do one turn: the worker's words (or, as JSON, every event) to stdout, notices to stderr.

    A turn that ends before its time leaves on stderr's last line its run id and the command that goes on with it.

    Returns:
        The exit status: 0, or what is known of the message; what had come by then is printed.

    Raises:
        ConfigurationError: An argument is wrong; nothing was sent.
        OutputError: Stdout cannot be written to.

    Cancelling ends the turn.
    """
    show = show_json if request.json else Words()
    async with (
        AsyncToolhouse(request.api_key, base_url=request.base_url, allow_insecure=request.allow_insecure) as toolhouse,
        toolhouse.session(request.agent_id, run_id=request.run_id, vars=request.vars) as session,
    ):
        turn = session.stream(
            request.message, format=request.format, timeout=request.timeout, settle=request.settle or "auto"
        )
        seen = _Seen()
        try:
            try:
                async with turn:
                    async for event in turn:
                        seen.note(event, turn, request)
                        show(event)
            finally:
                if isinstance(show, Words):
                    show.end_line()
        except ConfigurationError:
            raise
        except OutputError as error:
            if turn.run_id is None or error.reader_left:
                raise
            known = [f"{error}.", _standing(Fate.INCOMPLETE, request), _way_on(request, turn, is_answered=False)]
            raise OutputError(" ".join(known)) from error
        except (ToolhouseError, asyncio.CancelledError) as error:
            _tell(error, request, turn, seen)
            if isinstance(error, asyncio.CancelledError):
                raise
            return status_after(error)
    return Status.DONE


@attrs.define
class _Seen:
    """What the events of a turn have told: that the message was accepted, and of its job that runs."""

    begun: bool = False
    token: JobToken | None = None
    rounds: int = 0

    def note(self, event: ev.Event, turn: Turn, request: Request) -> None:
        match event:
            case ev.TurnStarted():
                self.begun = True
            case ev.JobStarted(job_id) if self.begun and turn.run_id is not None:
                self.token = JobToken(turn.agent_id, turn.run_id, job_id, time.time(), request.format, self.rounds)
            case ev.JobFinished():
                self.token = None
            case ev.TurnResumed(round=number):
                self.rounds = number
            case _:
                pass


def _tell(error: ToolhouseError | asyncio.CancelledError, request: Request, turn: Turn, seen: _Seen) -> None:
    """Say that a turn ended before its time, whether to send it again, and, where its run is known, how to go on."""
    show_failure(error, turn.run_id, as_json=request.json, begun=seen.begun, token=seen.token)
    if isinstance(error, ToolhouseError):
        fate = fate_of(error)
        print(_standing(fate, request), file=sys.stderr, flush=True)
    else:
        fate = Fate.INCOMPLETE if seen.begun else Fate.UNKNOWN
        if not seen.begun:
            print(f"Interrupted before an answer came. {_standing(fate, request)}", file=sys.stderr, flush=True)
    if turn.run_id is not None and (seen.begun or turn.job_id is not None):
        print(_way_on(request, turn, is_answered=isinstance(error, WorkerError)), file=sys.stderr, flush=True)
    elif fate is Fate.UNKNOWN and request.run_id is not None:
        target = Target(request.agent_id, request.run_id, options=_options(request))
        message = [] if request.message is None else ["MESSAGE"]
        print(target.way_to_find_out(*message), file=sys.stderr, flush=True)


def _standing(fate: Fate, request: Request) -> str:
    """What is known of a message without an answer, for who would send it again."""
    if fate is Fate.NOT_ACCEPTED:
        return "The message was not accepted: it may be sent again."
    if fate is not Fate.UNKNOWN:
        return "The message was accepted: sent again, it may be carried out twice."
    unknown = "Nobody knows whether the message was accepted: sent again, it may be carried out twice."
    return unknown if request.run_id else f"{unknown} Nobody can look, since it was to begin a conversation."


def _options(request: Request) -> tuple[str, ...]:
    """The options of a command that goes on, without the key."""
    service = service_words(request.base_url, request.api_key, allow_insecure=request.allow_insecure)
    return (*service, "--json") if request.json else service


def _way_on(request: Request, turn: Turn, *, is_answered: bool) -> str:
    """The command that goes on with a run; where the worker has answered, by an error, one for a further message."""
    run_id = str(turn.run_id)
    if not is_answered:
        return Target(request.agent_id, run_id, options=_options(request)).way_on(job=turn.job_id is not None)
    options = [*_options(request), *(["--format", request.format] if request.format != "ndjson" else [])]
    options += ["--settle"] if request.settle else []
    words = ["toolhouse-async", "run", "--run-id", run_id, *options, "--", request.agent_id, "MESSAGE"]
    return harmless(f"Run {run_id} can be continued with: {shlex.join(words)}")
