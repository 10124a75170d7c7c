"""What operators see of keys."""

from __future__ import annotations

from attrs import frozen

from .._wire.ids import is_id
from .._wire.records import Record
from .._wire.stage import Stage


@frozen
class SessionInfo:
    """What a manager's store says of one key.

    Attributes:
        key: The key.
        run_id: Its conversation; ``None`` before the first answer.
        holder: The host and process that has the key now, as ``host:pid``; ``None`` if nobody has.
        lease: Seconds until its lease ends, unless it is renewed; 0 without a holder.
        idle: Seconds since the key was last let go; 0 while somebody has it. A use that was refused, as by
            ``UncertainSessionError``, does not count.
        waiting: Processes that wait for the key.
        pending: Whether a background job is open, for ``resume_pending()``.
        unknown: Whether nobody knows if its last message was accepted. It is said of a key that nobody has: not in a
            ``checkout`` of it, nor until the lease of a process ends that was killed.
        unseen: Whether nobody has seen the answer to its last message: its turn was ended before that was whole, and
            :meth:`Session.reconcile` brings it. Of a message of unknown fate, or behind an open job, it is not said,
            and only where ``unknown`` would be.
    """

    key: str
    run_id: str | None
    holder: str | None
    lease: float
    idle: float
    waiting: int
    pending: bool
    unknown: bool
    unseen: bool = False


def info_of(key: str, record: Record, now: float) -> SessionInfo:
    """What an entry says at the store's time ``now``."""
    is_held = bool(record.holder) and record.until > now
    unsettled = None if is_held else record.unsettled
    has_arrived = unsettled is not None and unsettled.stage.is_accepted
    return SessionInfo(
        key,
        record.run_id,
        record.who if is_held else None,
        record.until - now if is_held else 0.0,
        0.0 if is_held else max(0.0, now - record.until),
        sum(waiter.until > now for waiter in record.queue),
        record.token is not None,
        unsettled is not None and unsettled.stage is Stage.MESSAGE,
        has_arrived and record.token is None,
    )


def key_named(name: str) -> tuple[str, str] | None:
    """The worker and the key that a store's entry is of, by its name; ``None`` for what is no key's entry."""
    agent_id, slash, key = name.partition("/")
    return (agent_id, key) if slash and is_id(agent_id) else None
