"""What the commands of ``toolhouse-async batch`` do."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..._batch.journal import BatchJournal, Head, names
from ...errors import ConfigurationError, ToolhouseError
from ..invocation import open_client
from ..jsonlines import document_line
from ..sessions.opening import Named, open_store
from ..statuses import Status
from ..stopping import without_repeats
from ..terminal import in_options, one_line
from .display import Display, counted
from .summary import ANEW, NO_MESSAGE, Without, summary
from .tables import Answers, Rows, check_out, written

if TYPE_CHECKING:
    from ... import AsyncToolhouse, Batch, BatchItem, TurnResult
    from ..._values.options import TurnOptions
    from ...stores import SessionStore

__all__ = ["Request", "list_failed", "retry", "run", "tell_status"]

_MOST_NAMES: Final = 10
"""Batches that are named where another was asked for."""
_OPEN: Final = {"status": "open", "answer": None, "error": "to be asked by now: the same command goes on with it"}
"""What is written of a row that has become one to be asked since it was over, as by 'batch retry'."""


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
    settle: bool
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
        stopping = _Stopping(request.retry_unknown)
        without = {"failed": Without("that failed"), "unknown": Without("that are unknown")}
        with Display() as display:
            async with _batch(request, toolhouse, rows, store, asks=True) as batch:
                stopping.stops(batch, display)
                display.show(batch.progress)
                try:
                    with display.following(batch):
                        async for item in batch:
                            display.show(batch.progress)
                            if item.status != "done":
                                without[item.status].add(item)
                except asyncio.CancelledError:
                    if not stopping.is_urgent:
                        raise
        progress = attrs.evolve(batch.progress, running=0)
        Display.say(counted(progress))
        if stopping.is_asked and progress.done + progress.failed + progress.unknown < len(rows):
            Display.say("Stopped; the same command goes on.")
            if stopping.left:
                rows_were = "1 row was" if stopping.left == 1 else f"{stopping.left:,} rows were"
                Display.say(
                    f"{rows_were} under way. The same command reads the answers that had begun{stopping.others_left}."
                )
            return stopping.status
        unread = reopened = 0
        if request.out is None:
            store_file = "" if "://" in request.store else f" {request.store!r:.200}"  # a URL may have a password
            without_it = " and without --retry-unknown" if request.retry_unknown and progress.unknown else ""
            Display.say(
                f"The answers are in the store{store_file}; the same command with --out FILE{without_it} writes them, "
                "and asks nothing again."
            )
        else:
            async with _batch(request, toolhouse, rows, store, asks=False) as batch:
                batch.stop()  # it gives what is over: a row that is to be asked again is left to the next start
                unread, reopened = await _write(batch, rows, request, request.out)
    failed, unknown, again = without["failed"], without["unknown"], request.retry_unknown
    for line in summary(progress, failed, unknown, unread=unread, reopened=reopened, retries_unknown=again):
        Display.say(line)
    return Status.PARTLY if progress.failed or progress.unknown or unread or reopened else Status.DONE


def _batch(request: Request, toolhouse: AsyncToolhouse, rows: Rows, store: SessionStore, *, asks: bool) -> Batch:
    """The batch, to be asked or to be written."""
    options: TurnOptions = {"timeout": request.timeout, "settle": request.settle or "auto"}
    return toolhouse.batch(
        request.agent_id,
        rows,
        store=store,
        name=request.name,
        key=None if request.key is None else rows.key_of,
        template=request.template,
        concurrency=request.concurrency if asks else 1,  # one at a time: in the rows' order
        rate=request.rate,
        retry_unknown=request.retry_unknown and asks,
        **options,
    )


async def _write(batch: Batch, rows: Rows, request: Request, out: Path) -> tuple[int, int]:
    """Write the file of the answers; see :func:`_add_all`.

    Raises:
        ConfigurationError: It cannot be written, or the file of rows has changed.
    """
    with written(out, rows.columns) as answers:
        try:
            return await _add_all(batch, rows, answers, parses=request.parse)
        except ConfigurationError as error:  # all rows were read before, and none was refused
            raise ConfigurationError(
                f"{str(out)!r:.200} is not written, since {request.path.name!r:.200} has changed meanwhile; the "
                f"answers are in the store, and the same command writes them where the file is as it was: {error}"
            ) from None


async def _add_all(batch: Batch, rows: Rows, answers: Answers, *, parses: bool) -> tuple[int, int]:
    """Write all rows with their items, which come from the store, in their order.

    Returns:
        How many answers are not what they should be, and how many rows have no item, since they are to be asked.
    """
    unread = reopened = 0
    item = await anext(batch, None)
    for number, row in enumerate(rows):
        if item is None or item.key != rows.key_of(row, number):
            reopened += 1
            answers.add(row, _OPEN)
            continue
        added = _added(item, parses=parses)
        unread += item.status == "done" and added["error"] is not None
        answers.add(row, added)
        item = await anext(batch, None)
    return unread, reopened


def _added(item: BatchItem, *, parses: bool) -> dict[str, Any]:
    """The columns that an item adds to its row."""
    if item.result is None:
        return {
            "status": item.status,
            "answer": None,
            "error": f"{type(item.error).__name__}: {in_options(str(item.error))}",
        }
    if not parses:
        return {"status": item.status, "answer": item.result.text, "error": None}
    try:
        answer = _strict_json(item.result)
    except ValueError as error:
        return {"status": item.status, "answer": None, "error": str(error)}
    return {"status": item.status, "answer": answer, "error": None}


def _strict_json(result: TurnResult) -> Any:
    """The JSON that an answer holds.

    Raises:
        ValueError: There is none, or one that a file of JSON cannot have.
    """
    answer = result.json()
    try:
        json.dumps(answer, allow_nan=False)  # Python reads numbers that JSON does not have
    except ValueError:
        why = "the worker's answer has a number that is none in JSON, such as NaN or Infinity: have it write null"
        raise ValueError(f"{why} in that place, or leave out --parse") from None
    return answer


class _Stopping:
    """Ctrl-C and SIGTERM: the first finishes what is under way, the second ends it, a second later at the soonest.

    Attributes:
        is_asked: Whether one has come.
        is_urgent: Whether another one has.
        left: How many rows that has left in mid-way.
        status: The exit status of a command that the last one has ended.
        others: What becomes then of rows whose answers have not begun; said before, and
        others_left: once it was ended.
    """

    def __init__(self, retries_unknown: bool) -> None:
        twice = "once more, which the worker may then do twice"
        self.others: str = ", and a row whose answer has not is unknown"
        self.others_left: str = "; a row whose answer had not is unknown then, and only --retry-unknown asks it again"
        if retries_unknown:
            self.others = f", and asks a row whose answer has not {twice}"
            self.others_left = (
                f", and asks a row whose answer had not {twice}; without --retry-unknown, such a row is unknown"
            )
        self.is_asked: bool = False
        self.is_urgent: bool = False
        self.left: int = 0
        self.status: Status = Status.DONE

    def stops(self, batch: Batch, display: Display) -> None:
        """Stop this batch from now on."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def asked(status: Status, again: str) -> None:
            self.status = status
            if self.is_asked:
                self.is_urgent = True
                self.left = batch.progress.running or self.left
                task.cancel()  # type: ignore[union-attr] # it runs in one
                return
            self.is_asked = True
            display.say(
                f"Finishing what is under way; {again} ends it: the same command then reads the answers that have "
                f"begun{self.others}."
            )
            batch.stop()

        with suppress(NotImplementedError):  # an event loop of Windows, where Ctrl-C cancels the task
            loop.add_signal_handler(signal.SIGINT, without_repeats(asked), Status.INTERRUPTED, "Ctrl-C again")
            loop.add_signal_handler(signal.SIGTERM, without_repeats(asked), Status.TERMINATED, "another SIGTERM")


async def tell_status(where: str, name: str | None) -> int:
    """Say how far a batch is, by the store alone."""
    async with open_store(Named(where, None)) as store:
        journal, _ = await _known(store, name)
        progress = await journal.progress()
    sys.stdout.write(f"{counted(progress)}\n")
    return Status.DONE


async def list_failed(where: str, name: str | None) -> int:
    """List the rows without an answer, a line of JSON each."""
    async with open_store(Named(where, None)) as store:
        journal, _ = await _known(store, name)
        async for item in journal.without_answer():
            error = item.error
            fields = {
                "key": item.key,
                "status": item.status,
                "error": type(error).__name__,
                "message": in_options(str(error)),
                "safe_to_retry": error.safe_to_retry if isinstance(error, ToolhouseError) else None,
                "run_id": error.run_id if isinstance(error, ToolhouseError) else None,
            }
            sys.stdout.write(document_line(fields))
    return Status.DONE


async def retry(where: str, name: str | None) -> int:
    """Have the rows that failed done again by the next run."""
    async with open_store(Named(where, None)) as store:
        journal, head = await _known(store, name)
        count, accepted = await journal.retry_failed()
        unknown = (await journal.progress()).unknown
    run = f"the next 'batch run' of the worker {one_line(head.agent_id)}"
    if count > accepted:
        sys.stdout.write(f"{count - accepted:,} failed: {run} asks again\n")
        sys.stdout.write("To ask another worker, give the batch another --name.\n")
    if accepted:
        it, answer = ("it was", "its answer") if accepted == 1 else ("they were", "their answers")
        sys.stdout.write(f"{accepted:,} failed after {it} accepted: {run} looks for {answer}, {NO_MESSAGE}\n")
        sys.stdout.write(f"{ANEW}\n")
    if count:
        sys.stdout.write("A 'batch run' that is under way leaves rows to the next one that it has come to already.\n")
    else:
        sys.stdout.write("0 failed: nothing to ask again\n")
    if unknown:
        sys.stdout.write(f"{unknown:,} unknown: 'batch run --retry-unknown' asks again\n")
    return Status.DONE


async def _known(store: SessionStore, name: str | None) -> tuple[BatchJournal, Head]:
    """The batch of a name, or the only one there is, and what the store keeps of it as a whole.

    Raises:
        ConfigurationError: There is none, or no name was given where there are several.
    """
    known = sorted([each async for each in names(store)]) if name is None else []
    asked = known[0] if len(known) == 1 else name
    if asked is not None:
        journal = BatchJournal(store, asked)
        head = await journal.head()
        if head is not None:
            return journal, head
    known = known or sorted([each async for each in names(store)])
    has = ", ".join([*(f"{each!r:.80}" for each in known[:_MOST_NAMES]), *("…" for _ in known[_MOST_NAMES:][:1])])
    wrong = "--name says which batch; the store" if name is None else f"the store has no batch {name!r:.200}; it"
    raise ConfigurationError(f"{wrong} has {has or 'none at all'}")
