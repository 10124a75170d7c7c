"""What a store keeps of one keyed session: where its conversation stands, and who has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
from attrs import Attribute, evolve, field, frozen
from attrs.validators import deep_iterable, deep_mapping, instance_of, max_len, optional

from .._results import JobToken, Message
from ..errors import StoreError
from .history import Place, fingerprint
from .ids import check_id

VERSION: Final = 1
MOST_SAID: Final = 500
"""How many different messages are counted by conversation; beyond it nobody knows what was said before."""


@frozen
class Unsettled:
    """A message whose answer nobody may have seen.

    Attributes:
        place: Where its answer stands in the history.
        bars: Whether nobody knows if it was accepted.
        told: Whether anybody was told of that.
        resumes: Whether it is the resume after a job.
    """

    place: Place
    bars: bool = field(validator=instance_of(bool))
    told: bool = field(validator=instance_of(bool))
    resumes: bool = field(validator=instance_of(bool))


class Waiter(NamedTuple):
    """Who waits for the key: the number it would have it by, and until when its place is kept."""

    number: str
    until: float


_text = instance_of(str)


def _time(_record: Any, field: Attribute[float], value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise TypeError(f"{field.name} is no time")


def _run_id(value: str | None) -> str | None:
    return None if value is None else check_id(value, "run id")


@frozen
class Record:
    """All that a store keeps of one key.

    Attributes:
        run_id: The conversation; ``None`` before the first answer.
        nameless: Whether it was begun by an answer without a run id.
        token: A job whose answer nobody has.
        unsettled: A message whose answer nobody may have seen.
        said: How often each message was said, by its key; ``None`` if that is not known.
        holder: The number by which somebody has the key; empty if nobody has.
        who: Their host and process, for people to read.
        until: When their lease ends, by the store's clock; without a holder, when the last one ended.
        length: The length of their lease, in seconds.
        idle_since: When the key was last let go before them.
        queue: Who waits, in order.
    """

    run_id: str | None = field(default=None, converter=_run_id)
    nameless: bool = field(default=False, validator=instance_of(bool))
    token: JobToken | None = None
    unsettled: Unsettled | None = None
    said: Mapping[str, int] | None = field(
        factory=dict[str, int], validator=optional(deep_mapping(_text, instance_of(int), instance_of(dict)))
    )
    holder: str = field(default="", validator=[_text, max_len(64)])
    who: str = field(default="", validator=_text)
    until: float = field(default=0.0, validator=_time)
    length: float = field(default=0.0, validator=_time)
    idle_since: float = field(default=0.0, validator=_time)
    queue: tuple[Waiter, ...] = field(default=(), validator=deep_iterable(instance_of(Waiter)))

    def begun_anew(self) -> Record:
        """The same key with no conversation."""
        return evolve(self, run_id=None, nameless=False, token=None, unsettled=None, said={})

    def is_like(self, other: Record) -> bool:
        """Whether the conversation stands where it stands in the other."""
        return all(getattr(self, name) == getattr(other, name) for name in _CONVERSATION)


_CONVERSATION: Final = ("run_id", "nameless", "token", "unsettled", "said")


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
    queue = [waiter for waiter in record.queue if waiter.until > now or waiter.number == number]
    is_free = not record.holder or record.until <= now or is_stale
    if record.holder == number:
        return evolve(record, until=now + length, length=length, queue=tuple(queue))
    if is_free and (not queue or queue[0].number == number):
        return evolve(
            record,
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
    return evolve(record, queue=tuple(queue))


def renewed(record: Record, now: float) -> Record:
    """The record with the holder's lease counted from now."""
    return evolve(record, until=now + record.length)


def released(record: Record, now: float) -> Record:
    """The record once its holder has let go."""
    return evolve(record, holder="", who="", until=now, length=0.0)


def unlocked(record: Record, now: float) -> Record:
    """The record once it was taken from whoever has it, and from all who wait."""
    return evolve(released(record, now), queue=())


def abandoned(record: Record, number: str, now: float) -> Record:
    """The record once whoever claimed it by ``number`` has given up, the key or their place."""
    if record.holder == number:
        return evolve(released(record, now), until=record.idle_since)
    return evolve(record, queue=tuple(waiter for waiter in record.queue if waiter.number != number))


def dumps(record: Record) -> bytes:
    """Write a record."""
    unsettled, said = record.unsettled, record.said
    place = None
    if unsettled is not None:
        last = unsettled.place.last
        place = unsettled.place._replace(last=fingerprint(last) if isinstance(last, Message) else last)
    written: dict[str, Any] = {
        "v": VERSION,
        "run_id": record.run_id,
        "nameless": record.nameless,
        "token": None if record.token is None else record.token.to_json(),
        "unsettled": None
        if unsettled is None
        else [list(place or ()), unsettled.bars, unsettled.told, unsettled.resumes],
        "said": said if said is not None and len(said) <= MOST_SAID else None,
        "holder": record.holder,
        "who": record.who,
        "until": record.until,
        "length": record.length,
        "idle_since": record.idle_since,
        "queue": [list(waiter) for waiter in record.queue],
    }
    return orjson.dumps(written)


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
            token, unsettled, queue = written.pop("token"), written.pop("unsettled"), written.pop("queue")
            return Record(
                token=None if token is None else JobToken.from_json(token),
                unsettled=None if unsettled is None else _unsettled(*unsettled),
                queue=tuple(_waiter(*each) for each in queue),
                **written,
            )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        why = f"it is of version {version!r:.20}, and this library knows {VERSION}"
    raise StoreError(f"the store's entry of this key cannot be read ({why:.300}); forget() it", safe_to_retry=False)


def _unsettled(place: list[Any], bars: bool, told: bool, resumes: bool) -> Unsettled:
    words, length, last, repeated, said_before = place
    for value in (words, last):
        if value is not None and not isinstance(value, str):
            raise TypeError("not text")
    for number in (length, said_before):
        if number is not None and (type(number) is not int or number < 0):
            raise TypeError("not a count")
    if type(repeated) is not bool:
        raise TypeError("not true or false")
    return Unsettled(Place(words, length, last, repeated, said_before), bars, told, resumes)


def _waiter(number: object, until: object) -> Waiter:
    if not isinstance(number, str) or not isinstance(until, int | float):
        raise TypeError("not a place in a queue")
    return Waiter(number, until)
