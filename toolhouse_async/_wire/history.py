"""Reading a conversation's history, and finding in it what a turn said and was answered."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from .._nested import flatten
from .._results import Message
from ..errors import UnexpectedContentError
from .entries import End, how_it_ends, is_message
from .jsontext import loads


def parse_history(body: bytes) -> tuple[Message, ...]:
    """Read the JSON array that a GET of a run answers with.

    Raises:
        UnexpectedContentError: It is not a JSON array.
    """
    try:
        entries = loads(body)
    except ValueError as error:
        raise UnexpectedContentError(f"the history is not JSON: {error}", safe_to_retry=True) from None
    if not isinstance(entries, list):
        raise UnexpectedContentError("the history is not a JSON array", safe_to_retry=True)
    return tuple(_message(entry) for entry in entries)


def _message(entry: Any) -> Message:
    if not isinstance(entry, dict):
        return Message("", entry, entry)
    role = entry.get("role")
    return Message(role if isinstance(role, str) else "", entry.get("content"), entry)


class Place(NamedTuple):
    """Where in a history the answer to a message begins.

    Attributes:
        words: The message as it was sent, ``None`` if there was none.
        length: Entries that stood there just before it was sent, ``None`` where that was not known.
        last: The last of those entries, by which a shifted history is noticed; or its fingerprint.
        repeated: Whether the same words may have been sent earlier in the conversation.
        said_before: How often they were, ``None`` where that is not known.
    """

    words: str | None
    length: int | None = None
    last: Message | str | None = None
    repeated: bool = True
    said_before: int | None = None


def _trusts_length(history: Sequence[Message], place: Place) -> bool:
    """Whether the history still begins as it did when its length was noted: it may have been shortened since."""
    if place.length is None or place.length > len(history):
        return False
    if place.last is None or place.length == 0:
        return True
    last = history[place.length - 1]
    return last == place.last if isinstance(place.last, Message) else fingerprint(last) == place.last


def fingerprint(entry: Message) -> str:
    """What stands for an entry of a history where the whole of it is too large to keep."""
    return sha256(repr(flatten(entry.raw)).encode("utf-8", "replace")).hexdigest()


def _begin(history: Sequence[Message], place: Place) -> int | None:
    """The index after the message, ``None`` if it is not found.

    The message itself need not be there where the length before it is known: whether an empty one is recorded is an
    open question of the protocol.
    """
    words = place.words or ""
    if place.length is None or not _trusts_length(history, place):
        backwards = range(len(history) - 1, -1, -1)
        return next((i + 1 for i in backwards if is_message(history[i]) and history[i].text == words), None)
    for index in range(place.length, len(history)):
        # An empty message may be recorded in words of the service's own.
        if is_message(history[index]) and (history[index].text == words or (not words and index == place.length)):
            return index + 1
    return place.length


def _end(history: Sequence[Message], begin: int) -> int:
    """The index of the user's next words. An empty message is no end: so a run is resumed after a job."""
    later = range(begin, len(history))
    return next((i for i in later if is_message(history[i]) and history[i].text), len(history))


class Reply(NamedTuple):
    """What a history shows of the answer to a message.

    Attributes:
        text: The worker's words in it, ``""`` while there are none.
        end: What stands last in it.
        size: Entries of it.
    """

    text: str
    end: End
    size: int


def find_reply(history: Sequence[Message], place: Place, partial: str) -> Reply | None:
    """Find what the worker answered to a message.

    Args:
        history: The conversation.
        place: Where the answer begins.
        partial: What was received of the answer.

    Returns:
        The answer as far as it is there; ``None`` where the message is not found, or what follows it could be an
        earlier turn's.
    """
    begin = _begin(history, place)
    if begin is None:
        return None
    entries = history[begin : _end(history, begin)]
    text = "".join(entry.text for entry in entries if entry.role == "assistant")
    if not _trusts_length(history, place) and _may_be_earlier(history, place, text, partial):
        return None
    end = how_it_ends(entries)
    if end is End.TOOL and begin + len(entries) < len(history):
        end = End.NOTHING  # somebody has gone on, so the run does not wait
    return Reply(text, end, len(entries))


def goes_on_from(text: str, partial: str) -> bool:
    """Whether a text is what was received and more, or the same, whatever white space it is stored with."""
    return text.startswith(partial) or squeezed(text).startswith(squeezed(partial))


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts differ in white space alone: services store answers trimmed."""
    return one == other or squeezed(one) == squeezed(other)


def is_shorter(text: str, partial: str) -> bool:
    """Whether a text is too short to be all that was received, white space left aside."""
    return len(text) < len(partial) and len(squeezed(text)) < len(squeezed(partial))


def squeezed(text: str) -> str:
    """Return a text without its white space."""
    return "".join(text.split())


def _may_be_earlier(history: Sequence[Message], place: Place, text: str, partial: str) -> bool:
    """Whether what was found may answer the same words said earlier: the message may not be recorded yet."""
    if place.said_before is not None:
        return _times_said(history, place.words) <= place.said_before
    return place.repeated and not (partial and text.startswith(partial))


def _times_said(history: Sequence[Message], words: str | None) -> int:
    return sum(is_message(entry) and entry.text == (words or "") for entry in history)


def has_arrived(history: Sequence[Message], place: Place) -> bool | None:
    """Whether a message of unknown fate is in the history; ``None`` where that cannot be told.

    Entries are told by content alone, so the same words said before make it uncertain, unless it is known how often
    they were said or how long the history was.
    """
    words = place.words or ""
    begin = place.length if _trusts_length(history, place) else None
    count = _times_said(history[begin or 0 :], words)
    if begin is not None:
        return count > 0 or (not words and len(history) > begin)
    if count == 0:
        return False if words else None
    return None if place.said_before is None else count > place.said_before
