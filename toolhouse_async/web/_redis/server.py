"""Turns as they stand on the Redis server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen

from ...stores._server import Connections, encoded, name_prefix
from . import scripts
from .pauses import Pauses
from .records import End, Entry, pack, unpack

__all__ = ["Standing", "TurnServer"]

PAGE: Final = 100
"""How many entries of a turn are read at once."""
LINGER: Final = 60.0
"""Seconds for which a turn can be read by who reads it already, when another one has its name."""


@frozen
class Standing:
    """A turn as it stands.

    Attributes:
        id: See :class:`HubTurn`.
        note: Likewise.
        agent_id: The worker.
        run_id: The conversation, where it was known; else empty.
        count: How many events came so far.
        end: How it ended; ``None`` while it runs.
    """

    id: str
    note: str
    agent_id: str
    run_id: str
    count: int
    end: End | None


class TurnServer:
    """Calls of the server about turns. Each may raise ``StoreError``, and may be repeated then.

    Args:
        connections: The server.
        prefix: What all names begin with.
        keep: Seconds for which a turn can be read when it is over.
        lease: Seconds for which a process is alive without a sign of life.
        grace: Seconds for which it may come back.
    """

    def __init__(self, connections: Connections, prefix: str, *, keep: float, lease: float, grace: float) -> None:
        self._connections = connections
        self._prefix = name_prefix(prefix)
        self._common = [self._prefix, *(round(seconds * 1000) for seconds in (lease, grace, keep))]
        names = ("APPEND", "CHECK", "CLAIM", "FINISH", "FORGET", "GET", "RENEW", "STOP")
        self._scripts = {name: connections.client.register_script(getattr(scripts, name)) for name in names}

    async def claim(self, name: str, turn_id: str, *, owner: str, note: str, agent_id: str) -> bool:
        """Take a name for a new turn, unless one of that name is running."""
        more = [turn_id, owner, encoded(note), agent_id, round(LINGER * 1000)]
        return bool(await self._do("CLAIM", [name], more))

    async def append(
        self,
        name: str,
        turn_id: str,
        before: int,
        entries: Iterable[Entry],
        run_id: str | None,
        bound: int,
        *,
        all_of: bool,
    ) -> tuple[int, int]:
        """Add entries to a turn; see the script."""
        packed = [part for entry in entries for part in pack(entry)]
        more = [turn_id, before, run_id or "", bound, "0" if all_of else "1", *packed]
        status, count = await self._do("APPEND", [name], more)
        return int(status), int(count)

    async def finish(self, name: str, turn_id: str, error: bytes) -> int:
        """End a turn; see the script."""
        return int(await self._do("FINISH", [name], [turn_id, error]))

    async def renew(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """Give signs of life of turns, by their names and ids; see the script."""
        return [int(each) for each in await self._do("RENEW", [name for name, _ in turns], [each for _, each in turns])]

    async def check(self, names: Sequence[str]) -> list[str]:
        """The ids of the turns of these names; empty where there is none."""
        return [each.decode() for each in await self._do("CHECK", names, [])]

    async def get(self, name: str) -> Standing | None:
        """A turn as it stands; ``None`` if there is none."""
        told = await self._do("GET", [name], [])
        if not told:
            return None
        turn_id, over, note, agent_id, run_id, count, last = told
        end: Any = None
        if int(over):
            end = _unpacked(last)[0] if last else End(None)
        note = note.decode("utf-8", "surrogatepass")
        return Standing(turn_id.decode(), note, agent_id.decode(), run_id.decode(), int(count), end)

    async def stop(self, name: str, turn_id: str) -> None:
        """Ask the process that runs a turn to stop it."""
        await self._do("STOP", [name], [turn_id])

    async def forget(self, name: str, turn_id: str = "") -> bool:
        """Forget a turn that is over: whether it is. Or the one of that id, whether it is over or not.

        Where its process may be gone, this waits until that is known.
        """
        pauses = Pauses()
        while (status := await self._do("FORGET", [name], [turn_id])) < 0:
            await pauses.sleep()
        return bool(status)

    async def page(self, turn_id: str, had: int, count: int = PAGE) -> list[Entry | End]:
        """The next entries of a turn behind an event."""
        call = partial(self._connections.client.xrange, self._stream(turn_id), f"{had + 1}-0", "+", count)
        return _unpacked(await self._connections.ask(call))

    async def last(self, turn_id: str) -> list[Entry | End]:
        """The last two entries of a turn, the last one first."""
        call = partial(self._connections.client.xrevrange, self._stream(turn_id), "+", "-", 2)
        return _unpacked(await self._connections.ask(call))

    async def listen(self, owner: str, asked: str, turns: Mapping[str, int]) -> tuple[str, bool, dict[str, list[Any]]]:
        """Wait for what is new, for a while.

        Args:
            owner: The process that listens.
            asked: What it was asked last.
            turns: How many events it has had of turns, by their ids.

        Returns:
            What it was asked last now; whether it is to stop a turn; and entries of turns, each as they stand.
        """
        control = self._prefix + b"process:" + owner.encode()
        streams: dict[bytes, str] = {control: asked}
        streams |= {self._stream(each): f"{had}-{(1 << 64) - 1}" for each, had in turns.items()}
        held_back = round(self._connections.patience * 500)  # milliseconds: half of what an answer may take
        call = partial(self._connections.client.xread, streams, count=PAGE, block=held_back)
        told = _pairs(await self._connections.ask(call))
        stops = False
        for entry_id, fields in told.pop(control, ()):
            asked = entry_id.decode()
            stops = stops or b"stop" in fields
        begin = len(self._stream(""))
        return asked, stops, {name[begin:].decode(): entries for name, entries in told.items()}

    async def wake(self, owner: str) -> None:
        """Let a process look again that listens."""
        control = self._prefix + b"process:" + owner.encode()
        client = self._connections.client
        await self._connections.ask(partial(client.xadd, control, {"look": ""}, maxlen=100))
        await self._connections.ask(partial(client.pexpire, control, round(LINGER * 1000)))

    def _stream(self, turn_id: str) -> bytes:
        return self._prefix + b"events:" + turn_id.encode()

    async def _do(self, script: str, names: Sequence[str], more: Sequence[Any]) -> Any:
        keys = [self._prefix + b"turn:" + encoded(name) for name in names]
        return await self._connections.ask(partial(self._scripts[script], keys=keys, args=[*self._common, *more]))


def _unpacked(told: Sequence[tuple[bytes, Any]]) -> list[Entry | End]:
    """Entries, up to the first that nobody can read."""
    entries: list[Entry | End] = []
    for name, fields in told:
        try:
            entries.append(unpack(name, _mapping(fields)))
        except ValueError:
            break
    return entries


def _mapping(fields: Any) -> Mapping[bytes, bytes]:
    return fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))


def _pairs(told: Any) -> dict[bytes, list[Any]]:
    """Entries by the names of their streams: RESP3 has a mapping, each list within another, where RESP2 has pairs."""
    if isinstance(told, dict):
        return {name: lists[0] for name, lists in told.items()}
    return dict(told)
