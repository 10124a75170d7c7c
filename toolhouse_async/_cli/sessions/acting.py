"""What the commands of ``sessions`` print and do."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from ..invocation import complete
from ..jsonlines import document_line
from ..moments import ago, since
from ..statuses import Status
from ..terminal import fail, harmless, one_line
from .keys import find, forget, kept, unlock
from .opening import open_store

if TYPE_CHECKING:
    from .keys import Kept
    from .opening import Named

__all__ = ["forget_key", "list_keys", "show_key", "unlock_key"]

_HEAD = ("KEY", "AGENT", "RUN", "STATE", "AGE")


async def list_keys(named: Named, agent_id: str | None, *, as_json: bool) -> int:
    """Print the keys of a store, sorted by worker and key.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: The store cannot be opened.
        StoreError: It failed.
        OutputError: Stdout cannot be written to.
    """
    async with open_store(named) as store:
        keys = sorted([each async for each in kept(store, agent_id)], key=lambda each: (each.agent_id, each.key))
    if as_json:
        for each in keys:
            sys.stdout.write(document_line(each.document()))
        return Status.DONE
    rows = [_HEAD, *(_row(each) for each in keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return Status.DONE


async def show_key(named: Named, key: str, agent_id: str | None, *, as_json: bool) -> int:
    """Print all that a store knows of a key.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: The store cannot be opened, or has no such key.
        StoreError: It failed.
        OutputError: Stdout cannot be written to.
    """
    found = await _found(named, key, agent_id)
    sys.stdout.write(document_line(found.document()) if as_json else _shown(found))
    return Status.DONE


def unlock_key(named: Named, key: str, agent_id: str | None, *, yes: bool) -> int:
    """Take a key from whoever has it, once that is confirmed.

    Returns:
        The exit status: 0, also where nobody had it.

    Raises:
        ConfigurationError: The store cannot be opened, or has no such key.
        StoreError: It failed.
    """
    found = asyncio.run(_found(named, key, agent_id))
    holder = found.info.holder if found.info is not None else None
    if holder is not None and not _agreed(f"Take it from {one_line(holder)}, which is gone for certain?", yes=yes):
        return Status.FAILED

    async def unlocked() -> int:
        async with open_store(named) as store:
            had = await unlock(store, found)
        print("unlocked" if had else "nobody had it", file=sys.stderr)
        return Status.DONE

    return complete(unlocked())


def forget_key(named: Named, key: str, agent_id: str | None, *, yes: bool) -> int:
    """Forget a key, once that is confirmed.

    Returns:
        The exit status: 1 where somebody has the key.

    Raises:
        ConfigurationError: The store cannot be opened, or has no such key.
        StoreError: It failed.
    """
    found = asyncio.run(_found(named, key, agent_id))
    info = found.info
    if info is not None and info.holder is not None:
        fail(
            f"{info.holder} has the key for another {info.lease:.0f} s and renews that while it lives: "
            "stop it first, or 'sessions unlock' the key if it is gone"
        )
        return Status.FAILED
    lost = " Nobody will get the answer of its open job." if info is not None and info.pending else ""
    if not _agreed(f"Forget {one_line(key)} of worker {found.agent_id}?{lost}", yes=yes):
        return Status.FAILED

    async def forgotten() -> int:
        async with open_store(named) as store:
            await forget(store, found)
        print("forgotten", file=sys.stderr)
        return Status.DONE

    return complete(forgotten())


async def _found(named: Named, key: str, agent_id: str | None) -> Kept:
    async with open_store(named) as store:
        return await find(store, key, agent_id)


def _agreed(question: str, *, yes: bool) -> bool:
    """Whether the operator wants it; asks on the terminal, with no event loop around that would keep Ctrl-C to itself.

    Raises:
        click.UsageError: There is no terminal to ask on.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: pass --yes if you mean it")
    return click.confirm(question, err=True)


def _row(each: Kept) -> tuple[str, str, str, str, str]:
    info = each.info
    run, age = "-", "-"
    if info is not None:
        run = info.run_id or "-"
        age = ago(info.idle) if info.holder is None else "-"
    return one_line(each.key, 200), each.agent_id, run, each.state, age


def _shown(each: Kept) -> str:
    info, record = each.info, each.record
    lines = [("key", one_line(each.key, 1000)), ("worker", each.agent_id)]
    if info is None or record is None:
        lines.append(("state", "unreadable: 'sessions forget' it, or use the version that wrote it"))
    else:
        lines.append(("run", info.run_id or "none yet"))
        lines.append(("state", each.state))
        if info.holder is None:
            lines.append(("idle", f"for {ago(info.idle)}"))
        else:
            lines.append(("holder", f"{one_line(info.holder)}, for another {info.lease:.0f} s unless it is renewed"))
        if info.waiting:
            lines.append(("waiting", f"{info.waiting} processes"))
        if record.token is not None:
            lines.append(("job", f"{one_line(record.token.job_id)}{since(record.token.started)}"))
            lines.append(("token", record.token.to_json()))
        if record.unsettled is not None and record.unsettled.words is not None:
            outcome = "of unknown outcome" if info.unknown else "its answer was not seen"
            if info.holder is not None:
                outcome = "under way"
            words = one_line(record.unsettled.words, 200) or "(empty, as a resume is)"
            lines.append(("message", f"{outcome}: {words}"))
        if info.run_id is not None:
            lines.append(("look", f"toolhouse-async status {each.agent_id} {info.run_id}"))
    return "".join(f"{name:<8}  {harmless(text)}\n" for name, text in lines)
