"""What a store keeps of one keyed session: where its conversation stands, and who has it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import orjson

from .._values.results import JobToken
from ..errors import StoreError
from .ids import check_id
from .stage import Stage

T = TypeVar("T")

VERSION: Final = 2
MOST_SAID: Final = 500
"""How many different messages are counted by conversation; beyond it nobody knows what was said before."""
MOST_HEARD: Final = 100
"""How many rounds of one message are kept; beyond it nobody knows what was heard."""
LATEST: Final = 1e12
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
Pieces: TypeAlias = tuple[tuple[int, str], ...]
"""What was heard behind a message, in rounds: how many characters each has, and what stands for them."""


class Unsettled(NamedTuple):
    """A message whose answer nobody may have seen.

    Attributes:
        words: The message as it was sent, ``None`` if there was none.
        bars: Whether nothing more is sent before its fate is known.
        told: Whether anybody was told of that.
        resumes: Whether it is the resume after a job.
        stage: How far its turn has come.
    """

    words: str | None
    bars: bool
    told: bool
    resumes: bool
    stage: Stage

    @property
    def is_given_up(self) -> bool:
        """Whether it was being sent when its turn was closed: who did that may know better, others are to be told."""
        return self.stage is Stage.MESSAGE and not (self.bars or self.told)


class Waiter(NamedTuple):
    """Who waits for the key: the number it would have it by, and until when its place is kept."""

    number: str
    until: float


class Row(NamedTuple):
    """What is known of a row of a batch, where the key is one.

    Attributes:
        digest: What stands for its message.
        status: ``"open"``, or what it came to: ``"done"``, ``"failed"`` or ``"unknown"``.
        outcome: The result or the error, as :mod:`.outcomes` writes it; empty while the row is open.
    """

    digest: str
    status: str
    outcome: str


class Later(NamedTuple):
    """A message that was said from the first one on whose fate is unknown.

    Attributes:
        key: What stands for it.
        is_certain: Whether it was accepted.
        heard: What was heard behind it; ``None`` if that is not known.
    """

    key: str
    is_certain: bool
    heard: Pieces | None


class Record(NamedTuple):
    """All that a store keeps of one key.

    Attributes:
        run_id: The conversation; ``None`` before the first answer.
        nameless: Whether it was begun by an answer without a run id.
        token: A job whose answer nobody has.
        unsettled: A message whose answer nobody may have seen.
        said: How often each message was said, by its key; ``None`` if that is not known.
        heard: What was heard behind the last message with words; ``None`` if that is not known.
        since: What was said after both, in order: it begins with a message whose fate nobody knows. What is open is not
            among them before it was accepted.
        holder: The number by which somebody has the key; empty if nobody has.
        who: Their host and process, for people to read.
        until: When their lease ends, by the store's clock; without a holder, when the last one ended.
        length: The length of their lease, in seconds.
        idle_since: When the key was last let go before them.
        queue: Who waits, in order.
        row: The row of a batch that the key is, if it is one.
    """

    run_id: str | None = None
    nameless: bool = False
    token: JobToken | None = None
    unsettled: Unsettled | None = None
    said: Mapping[str, int] | None = _NOTHING
    heard: Pieces | None = ()
    since: tuple[Later, ...] = ()
    holder: str = ""
    who: str = ""
    until: float = 0.0
    length: float = 0.0
    idle_since: float = 0.0
    queue: tuple[Waiter, ...] = ()
    row: Row | None = None

    def begun_anew(self) -> Record:
        """The same key with no conversation."""
        return self._replace(run_id=None, nameless=False, token=None, unsettled=None, said=_NOTHING, heard=(), since=())

    def is_like(self, other: Record) -> bool:
        """Whether the conversation stands where it stands in the other."""
        return all(getattr(self, name) == getattr(other, name) for name in _CONVERSATION)


_CONVERSATION: Final = ("run_id", "nameless", "token", "unsettled", "said", "heard", "since", "row")


def claimed(record: Record, number: str, now: float, *, who: str, length: float, is_stale: bool = False) -> Record:
    """The record once somebody has asked for the key: they have it, or a place in its queue.

    Args:
        record: As it was found.
        number: By what they would have it: no other claim has the same.
        now: The store's time.
        who: Their host and process.
        length: Of the lease, in seconds; a place in the queue is kept for a third of it.
        is_stale: Whether the holder is known to have failed, whatever the clock says.
    """
    # A place that is kept for too long was written before the clock was set back.
    queue = [each for each in record.queue if now < each.until <= now + length or each.number == number]
    if record.holder == number:
        return record._replace(until=now + length, length=length, queue=tuple(queue))
    if is_free(record, now, is_stale=is_stale) and (not queue or queue[0].number == number):
        return record._replace(
            holder=number,
            who=who,
            until=now + length,
            length=length,
            idle_since=min(record.until, now),
            queue=tuple(queue[1:]),
        )
    place = Waiter(number, now + length / 3)
    numbers = [waiter.number for waiter in queue]
    if number in numbers:
        queue[numbers.index(number)] = place
    else:
        queue.append(place)
    return record._replace(queue=tuple(queue))


def is_free(record: Record, now: float, *, is_stale: bool) -> bool:
    """Whether nobody has the key, or whoever has it has failed, as :func:`claimed` takes it."""
    return not record.holder or record.until <= now or is_stale


def renewed(record: Record, now: float) -> Record:
    """The record with the holder's lease counted from now."""
    return record._replace(until=now + record.length)


def released(record: Record, now: float) -> Record:
    """The record once its holder has let go."""
    return record._replace(holder="", who="", until=now, length=0.0)


def unlocked(record: Record, now: float) -> Record:
    """The record once it was taken from whoever has it, and from all who wait."""
    return released(record, now)._replace(queue=())


def is_unlocked(record: Record, before: Record) -> bool:
    """Whether a key that was held is free by :func:`unlocked` alone: whoever takes it notes since when it was free."""
    return not record.holder and record.idle_since == before.idle_since and record.is_like(before)


def abandoned(record: Record, number: str, now: float) -> Record:
    """The record once whoever claimed it by ``number`` has given up, the key or their place."""
    if record.holder == number:
        return released(record, now)._replace(until=record.idle_since)
    return record._replace(queue=tuple(waiter for waiter in record.queue if waiter.number != number))


def dumps(record: Record) -> bytes:
    """Write a record."""
    said, unsettled, since = record.said, record.unsettled, record.since
    if said is None or len(said) + len(since) > MOST_SAID:
        said, since = None, ()
    written: dict[str, Any] = {
        "v": VERSION,
        "run_id": record.run_id,
        "nameless": record.nameless,
        "token": None if record.token is None else record.token.to_json(),
        "unsettled": None if unsettled is None else [*unsettled[:-1], unsettled.stage.name],
        "heard": _heard(record.heard),
        "said": None if said is None else dict(said),
        "holder": record.holder,
        "who": record.who,
        "until": record.until,
        "length": record.length,
        "idle_since": record.idle_since,
        "queue": [list(waiter) for waiter in record.queue],
    }
    if since:
        written["since"] = [[each.key, each.is_certain, _heard(each.heard)] for each in since]
    if record.row is not None:
        written["row"] = list(record.row)
    return orjson.dumps(written)


def _heard(pieces: Pieces | None) -> list[list[int | str]] | None:
    return None if pieces is None or len(pieces) > MOST_HEARD else [list(each) for each in pieces]


def dumps_unless_empty(record: Record) -> bytes | None:
    """Write a record; no data where it says nothing of a conversation, and nobody has the key or waits for it."""
    is_empty = not record.holder and not record.queue and record.is_like(Record())
    return None if is_empty else dumps(record)


def loads(data: bytes | None) -> Record:
    """Read a record; no data is one of a key that nobody has used.

    Raises:
        StoreError: It is none, or one of a later version.
    """
    if data is None:
        return Record()
    try:
        written = orjson.loads(data)
        version = written.pop("v")
        if version == VERSION:
            return _record(**written)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        why = f"it is of version {version!r:.20}, and this library knows {VERSION}"
    raise StoreError(f"the store's entry of this key cannot be read ({why:.300}); forget() it")


def _record(
    run_id: object,
    nameless: object,
    token: object,
    unsettled: object,
    said: object,
    heard: object,
    holder: object,
    who: object,
    until: object,
    length: object,
    idle_since: object,
    queue: object,
    since: object = (),
    row: object = None,
) -> Record:
    return Record(
        None if run_id is None else check_id(_as(run_id, str), "run id"),
        _as(nameless, bool),
        None if token is None else JobToken.from_json(_as(token, str)),
        None if unsettled is None else _unsettled(*_as(unsettled, list)),
        None if said is None else {name: _count(number) for name, number in _as(said, dict).items()},
        _pieces(heard),
        () if said is None or since == () else tuple(_later(*_as(each, list)) for each in _as(since, list)),
        _as(holder, str),
        _as(who, str),
        _time(until),
        _time(length),
        _time(idle_since),
        tuple(_waiter(*_as(each, list)) for each in _as(queue, list)),
        None if row is None else _row(*_as(row, list)),
    )


def _unsettled(words: object, bars: object, told: object, resumes: object, stage: object) -> Unsettled:
    return Unsettled(
        None if words is None else _as(words, str),
        _as(bars, bool),
        _as(told, bool),
        _as(resumes, bool),
        Stage[_as(stage, str)],
    )


def _row(digest: object, status: object, outcome: object) -> Row:
    return Row(_as(digest, str), _as(status, str), _as(outcome, str))


def _later(key: object, is_certain: object, heard: object) -> Later:
    return Later(_as(key, str), _as(is_certain, bool), _pieces(heard))


def _pieces(heard: object) -> Pieces | None:
    return None if heard is None else tuple(_piece(*_as(each, list)) for each in _as(heard, list))


def _piece(size: object, key: object) -> tuple[int, str]:
    return _count(size), _as(key, str)


def _waiter(number: object, until: object) -> Waiter:
    return Waiter(_as(number, str), _time(until))


def _as(value: object, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__}")  # no value: it may be a message
    return value


def _count(value: object) -> int:
    if _as(value, int) < 0:
        raise ValueError(f"{value!r:.50} is no count")
    return _as(value, int)


def _time(value: object) -> float:
    number = _as(value, int) if type(value) is int else _as(value, float)
    if not 0 <= number < LATEST:
        raise ValueError(f"{value!r:.50} is no time")
    return number
