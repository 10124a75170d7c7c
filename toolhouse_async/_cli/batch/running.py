"""What the commands of ``toolhouse-async batch`` do."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from ..._batch.journal import BatchJournal
from ...errors import ConfigurationError, ToolhouseError
from ..invocation import open_client
from ..jsonlines import document_line
from ..sessions.opening import Named, open_store
from ..statuses import Status
from .display import Display, counted
from .tables import Rows, check_out, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from ... import AsyncToolhouse, Batch, BatchItem
    from ..._values.options import TurnOptions
    from ...stores import SessionStore

__all__ = ["Request", "list_failed", "retry", "run", "tell_status"]


@attrs.frozen(kw_only=True)
class Request:
    """What ``batch run`` is asked for."""

    path: Path
    agent_id: str
    store: str
    name: str
    key: str | None
    template: str | None
    out: Path | None
    parse: bool
    rate: float | None
    concurrency: int
    retry_unknown: bool
    timeout: float | None
    base_url: str | None
    api_key: str | None
    allow_insecure: bool


async def run(request: Request) -> int:
    """Ask all rows, and write the answers down once all are over.

    Returns:
        The exit status: whether all rows are done, some are not, or it was stopped.

    Raises:
        ConfigurationError: An argument or a row is wrong.
        ToolhouseError: The store failed.

    Cancelling ends what is under way; the next start goes on.
    """
    if request.out is not None:
        check_out(request.out, request.path)
    rows = Rows(request.path, key=request.key, template=request.template)
    client = open_client(request.base_url, request.api_key, allow_insecure=request.allow_insecure)
    async with client as toolhouse, open_store(Named(request.store, None), may_be_new=True) as store:
        stopping = _Stopping()
        with Display() as display:
            async with _batch(request, toolhouse, rows, store, request.concurrency) as batch:
                stopping.stops(batch.stop, display)
                display.show(batch.progress)
                try:
                    async for _ in batch:
                        display.show(batch.progress)
                except asyncio.CancelledError:
                    if not stopping.is_urgent:
                        raise
        progress = attrs.evolve(batch.progress, running=0)
        Display.say(counted(progress))
        if stopping.is_asked and progress.done + progress.failed + progress.unknown < len(rows):
            Display.say("Stopped; the same command goes on.")
            return Status.INTERRUPTED
        unread = 0
        if request.out is None:
            Display.say(
                "The answers are in the store; the same command with --out FILE writes them, and asks nothing again."
            )
        else:
            async with _batch(request, toolhouse, rows, store, 1) as batch:  # one at a time: in the rows' order
                unread = await _write(batch, request.out, rows.columns, parses=request.parse)
    if unread:
        Display.say(f"{unread:,} answers are no JSON")
    if progress.failed:
        Display.say("'batch failed' lists the rows that failed, and 'batch retry' lets the next run ask them again.")
    if progress.unknown:
        Display.say("Nobody knows whether the unknown ones were accepted; --retry-unknown asks them again.")
    return Status.PARTLY if progress.failed or progress.unknown or unread else Status.DONE


def _batch(request: Request, toolhouse: AsyncToolhouse, rows: Rows, store: SessionStore, concurrency: int) -> Batch:
    options: TurnOptions = {} if request.timeout is None else {"timeout": request.timeout}
    return toolhouse.batch(
        request.agent_id,
        rows,
        store=store,
        name=request.name,
        key=None if request.key is None else rows.key_of,
        template=request.template,
        concurrency=concurrency,
        rate=request.rate,
        retry_unknown=request.retry_unknown and concurrency > 1,
        **options,
    )


async def _write(batch: Batch, out: Path, columns: tuple[str, ...], *, parses: bool) -> int:
    """Write all items, which come from the store; how many answers are not what they should be."""
    unread = 0
    with written(out, columns) as answers:
        async for item in batch:
            added = _added(item, parses=parses)
            unread += item.status == "done" and added["error"] is not None
            answers.add(item.row, added)
    return unread


def _added(item: BatchItem, *, parses: bool) -> dict[str, Any]:
    """The columns that an item adds to its row."""
    if item.result is None:
        return {"status": item.status, "answer": None, "error": f"{type(item.error).__name__}: {item.error}"}
    if not parses:
        return {"status": item.status, "answer": item.result.text, "error": None}
    try:
        answer = item.result.json()
        json.dumps(answer, allow_nan=False)  # Python reads numbers that JSON does not have
    except ValueError as error:
        return {"status": item.status, "answer": None, "error": str(error)}
    return {"status": item.status, "answer": answer, "error": None}


class _Stopping:
    """Ctrl-C: the first finishes what is under way, the second ends it.

    Attributes:
        is_asked: Whether it was pressed.
        is_urgent: Whether it was pressed again.
    """

    def __init__(self) -> None:
        self.is_asked: bool = False
        self.is_urgent: bool = False

    def stops(self, stop: Callable[[], None], display: Display) -> None:
        """Stop by this from now on."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def asked() -> None:
            if self.is_asked:
                self.is_urgent = True
                task.cancel()  # type: ignore[union-attr] # it runs in one
                return
            self.is_asked = True
            display.say("Finishing what is under way; Ctrl-C again ends it.")
            stop()

        with suppress(NotImplementedError):  # an event loop of Windows, where Ctrl-C cancels the task
            loop.add_signal_handler(signal.SIGINT, asked)


async def tell_status(where: str, name: str) -> int:
    """Say how far a batch is, by the store alone."""
    async with open_store(Named(where, None)) as store:
        journal = await _known(store, name)
        progress = await journal.progress()
    sys.stdout.write(f"{counted(progress)}\n")
    return Status.DONE


async def list_failed(where: str, name: str) -> int:
    """List the rows without an answer, a line of JSON each."""
    async with open_store(Named(where, None)) as store:
        journal = await _known(store, name)
        async for item in journal.without_answer():
            error = item.error
            fields = {
                "key": item.key,
                "status": item.status,
                "error": type(error).__name__,
                "message": str(error),
                "safe_to_retry": error.safe_to_retry if isinstance(error, ToolhouseError) else None,
                "run_id": error.run_id if isinstance(error, ToolhouseError) else None,
            }
            sys.stdout.write(document_line(fields))
    return Status.DONE


async def retry(where: str, name: str) -> int:
    """Have the rows that failed asked again by the next run."""
    async with open_store(Named(where, None)) as store:
        count = await (await _known(store, name)).retry_failed()
    sys.stdout.write(f"{count:,} rows: the next 'batch run' asks them again\n")
    return Status.DONE


async def _known(store: SessionStore, name: str) -> BatchJournal:
    """The batch of a name.

    Raises:
        ConfigurationError: There is none.
    """
    journal = BatchJournal(store, name)
    if await journal.head() is None:
        raise ConfigurationError(f"the store has no batch {name!r:.200}")
    return journal
