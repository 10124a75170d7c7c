"""The keys of a store: those that are there, one of them, and what an operator does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from ..._client import BASE_URL, AsyncToolhouse
from ..._keyed.listing import SessionInfo, info_of, key_named
from ..._wire import records
from ...errors import ConfigurationError, StoreError
from ...manager import SessionManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ...stores import SessionStore

__all__ = ["Kept", "find", "forget", "kept", "unlock"]


@frozen
class Kept:
    """A key of a store.

    Attributes:
        agent_id: The worker.
        key: The key.
        info: What managers say of it; ``None`` where the entry cannot be read.
        record: The entry itself; ``None`` in the same case.
    """

    agent_id: str
    key: str
    info: SessionInfo | None
    record: records.Record | None

    @property
    def state(self) -> str:
        """Its state in a few words, the most urgent first."""
        if self.info is None:
            return "unreadable"
        states = [
            name
            for name, is_so in (
                ("held", self.info.holder is not None),
                ("unknown", self.info.unknown),
                ("unseen", self.info.unseen),
                ("job", self.info.pending),
            )
            if is_so
        ]
        return ",".join(states) or "idle"

    def document(self) -> dict[str, Any]:
        """All that is known of it, for programs."""
        info, record = self.info, self.record
        document: dict[str, Any] = {"key": self.key, "agent_id": self.agent_id, "state": self.state}
        if info is None or record is None:
            return document
        token, unsettled = record.token, record.unsettled
        return document | {
            "run_id": info.run_id,
            "holder": info.holder,
            "lease": info.lease,
            "idle": info.idle,
            "waiting": info.waiting,
            "job_id": None if token is None else token.job_id,
            "started": None if token is None else token.started,
            "token": None if token is None else token.to_json(),
            "message": None if unsettled is None else unsettled.words,
            "unknown": info.unknown,
            "unseen": info.unseen,
        }


async def kept(store: SessionStore, agent_id: str | None = None) -> AsyncIterator[Kept]:
    """Go through the keys of a store, those of one worker or of all, in any order.

    Raises:
        StoreError: The store failed.
    """
    prefix = "" if agent_id is None else f"{agent_id}/"
    now = (await store.read(prefix)).time
    async for name, value in store.entries(prefix):
        if (named := key_named(name)) is not None:
            yield _kept(*named, value, now)


async def find(store: SessionStore, key: str, agent_id: str | None) -> Kept:
    """Find one key.

    Raises:
        ConfigurationError: There is none of that name, or several workers have one.
        StoreError: The store failed.
    """
    found = [each async for each in kept(store, agent_id) if each.key == key]
    if not found:
        raise ConfigurationError(f"the store has no key {key!r:.200}: 'sessions list' shows those that it has")
    if len(found) > 1:
        workers = ", ".join(sorted(each.agent_id for each in found))
        raise ConfigurationError(f"several workers have the key {key!r:.200}: choose one by --agent ({workers:.500})")
    return found[0]


async def unlock(store: SessionStore, key: Kept) -> bool:
    """Take a key from whoever has it; whether somebody had it.

    Raises:
        StoreError: The store failed.
    """
    async with AsyncToolhouse("", base_url=BASE_URL) as toolhouse:  # nothing is sent
        return await SessionManager(toolhouse, key.agent_id, store=store).unlock(key.key)


async def forget(store: SessionStore, key: Kept) -> None:
    """Forget a key once nobody has it.

    Raises:
        StoreError: The store failed.
    """
    async with (
        AsyncToolhouse("", base_url=BASE_URL) as toolhouse,  # nothing is sent
        SessionManager(toolhouse, key.agent_id, store=store) as manager,
    ):
        await manager.forget(key.key)


def _kept(agent_id: str, key: str, value: bytes, now: float) -> Kept:
    try:
        record = records.loads(value)
    except StoreError:
        return Kept(agent_id, key, None, None)
    return Kept(agent_id, key, info_of(key, record, now), record)
