"""What one client has said and heard on a run, and what a reading of the run's history proves by it.

A reading is evidence only where it is understood: all that was said and heard stands in it, in order and as it was, and
nothing else. A history may lag, be a window of its latest entries, hold messages in another form, or be written by
others too. Then it proves neither that a message arrived nor that it did not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from .._values.results import Message
from .._wire.entries import is_of_a_turn
from .heard import EMPTY, NOTHING_HEARD, NOTHING_YET, Heard, Said, key_of, squeezed
from .reading import Group, Reply, Segment, Sight, fingerprint, segments_of, why_moved

_ODD: Final[AbstractSet[tuple[Sight, int | None]]] = {(Sight.ODD, None)}
NOTHING_SAID: Final[Mapping[str, int]] = {}


class Found(NamedTuple):
    """What one reading shows of a message.

    Attributes:
        sight: Whether it arrived.
        reply: The worker's answer, as far as it is there.
    """

    sight: Sight
    reply: Reply | None


class Transcript:
    """What was said and heard on a run, in order.

    Nothing is kept of a conversation but what stands for it: some tens of bytes a message.
    """

    __slots__ = ("_base", "_entries", "_latest", "_prior", "_seen", "_tail")

    def __init__(self, prior: Mapping[str, int] | None = NOTHING_SAID, tail: Heard | None = None) -> None:
        """Begin.

        Args:
            prior: How often each message was said before, by its key; ``None`` if others may have said some.
            tail: What was heard behind the last of them, if that is known.
        """
        self._prior: Mapping[str, int] | None = prior
        self._tail: Heard | None = NOTHING_HEARD if prior is not None and not prior else tail
        self._entries: list[Said] = []
        self._latest: tuple[Said, str, bool] | None = None  # what was heard last, not yet digested: it may never be
        # Entries of a run of others that stood there before anything was said, and what stands for them.
        self._base: tuple[int, str] | None = None
        self._seen: tuple[int, str] | None = None  # the same of the latest reading while the run rested

    def extend(self, since: Iterable[Said]) -> None:
        """Go on with what was said then, in order."""
        self._entries += since

    def say(self, words: str | None) -> Said:
        """Note a message that is about to be sent."""
        if self._latest is not None:
            self._settle()
        if self._entries:
            self._entries[-1].drop_words()
        said = Said(words)
        self._entries.append(said)
        if words:
            said.heard = NOTHING_YET
        else:
            before = self._before(said)
            said.heard = None if before is None else before._replace(whole=False)
        return said

    def has(self, said: Said) -> bool:
        """Whether a message is still among them."""
        return said in self._entries

    def take_back(self, said: Said) -> None:
        """Forget a message, unless it is known to have been accepted."""
        if said in self._entries and not said.is_certain:
            self._entries.remove(said)
            if self._latest is not None and self._latest[0] is said:
                self._latest = None

    def hear(self, said: Said, text: str, *, whole: bool) -> None:
        """Note what the worker has answered to the latest message so far; ``whole`` if that is all."""
        if self._entries and self._entries[-1] is said:
            self._latest = (said, text, whole)

    def _settle(self) -> None:
        """Put what was heard last in its form to keep."""
        if self._latest is None:
            return
        (said, text, whole), self._latest = self._latest, None
        before = self._before(said)
        said.heard = None if before is None else before.followed_by(text, whole=whole)

    def _before(self, said: Said) -> Heard | None:
        """What was heard behind the same message with words before this one."""
        if not said.is_empty:
            return NOTHING_HEARD
        number = self._entries.index(said)
        return self._entries[number - 1].heard if number else self._tail

    @property
    def latest(self) -> Said | None:
        """What was said last, if that is known."""
        return self._entries[-1] if self._entries else None

    def counted(self, open_: Said | None) -> tuple[Mapping[str, int] | None, Sequence[Said]]:
        """How often each message was accepted, by its key, up to the first of unknown fate; and all from that one on.

        There is nothing of either, and ``None``, if others may have said some.

        Args:
            open_: What is told of elsewhere: it is left aside until it was accepted.
        """
        if self._prior is None:
            return None, ()
        entries = [said for said in self._entries if said.is_certain or said is not open_]
        first = next((number for number, said in enumerate(entries) if not said.is_certain), len(entries))
        counts = Counter(self._prior)
        counts.update(said.key for said in entries[:first])
        return dict(counts), entries[first:]

    def heard_before(self, said: Said | None) -> Heard | None:
        """What was heard last before a message; ``None``: before the next one."""
        self._settle()
        number = self._entries.index(said) if said is not None and said in self._entries else len(self._entries)
        return self._entries[number - 1].heard if number else self._tail

    def saw(self, history: Sequence[Message]) -> None:
        """Note a reading while the run rests: later ones begin with it, unless the history is written anew."""
        if not history:
            return
        if self._entries:
            latest = self._entries[-1]
            found = self.find(history, latest, "")
            if found.sight is Sight.ARRIVED and found.reply is not None:
                self._seen = (len(history), fingerprint(history))
                if latest.heard is None or not latest.heard.whole:
                    self._latest = (latest, found.reply.text, True)  # another process has heard it
            return
        self._seen = (len(history), fingerprint(history))
        if self._prior is None:
            self._base = self._seen
            self._tail = NOTHING_HEARD.followed_by(segments_of(history)[-1].text, whole=True)

    def find_overtaken(self, history: Sequence[Message]) -> Said | None:
        """Find a message of unknown fate that has come late: a reading shows it behind the one that was said last.

        It stands behind that one from now on.
        """
        with_words = [said for said in self._entries if not said.is_empty]
        late = {said.key: said for said in with_words[:-1] if not said.is_certain}
        segments = segments_of(history) if late else []
        if len(segments) < 2 or segments[-2].key != with_words[-1].key:
            return None
        said = late.get(segments[-1].key or "")
        if said is None or self.find(history, self._entries[-1], "").sight is not Sight.ARRIVED:
            return None
        said.is_certain = True
        self._entries.remove(said)
        self._entries.append(said)
        return said

    def find(self, history: Sequence[Message], said: Said, partial: str) -> Found:
        """Say what a reading shows of a message and of its answer.

        Args:
            history: The reading.
            said: The message.
            partial: What was received of its answer.
        """
        segments, groups, number, sight, place = self._locate(history, said)
        if sight is Sight.ABSENT and not self._shows_what_was_heard(segments, groups[:number]):
            sight = Sight.ODD  # it may lag behind the answer that is not known, and then behind this message too
        if sight is Sight.ODD:
            found = self._resembling(segments, groups, number, said, partial)
            return Found(sight, None if found is None else self._reply(segments, *found))
        if place is None:
            return Found(sight, None)
        before = self._before(said)
        skips = before is not None and before.begins(segments[place].text)
        return Found(sight, self._reply(segments, place, before.size if before is not None and skips else 0))

    def ends(self, history: Sequence[Message]) -> bool:
        """Whether what was said last stands last in a reading."""
        if not self._entries:
            return False
        segments, _, _, sight, place = self._locate(history, self._entries[-1])
        return sight is Sight.ARRIVED and place == len(segments) - 1

    @classmethod
    def of_last(cls, history: Sequence[Message]) -> Transcript:
        """Go by a reading that has rested: what stands last in it was said last, whoever has said it."""
        transcript, last = cls(None, NOTHING_HEARD), segments_of(history)[-1]
        before = len(history) - len(last.entries) - (last.message is not None)
        transcript._base = (before, fingerprint(history[:before]))
        transcript.say(None if last.message is None else last.message.text).is_certain = True
        return transcript

    def _locate(
        self, history: Sequence[Message], said: Said
    ) -> tuple[list[Segment], list[Group], int, Sight, int | None]:
        """A reading's segments, what was said by groups, the number of a message's; its sight, and where it stands."""
        self._settle()
        segments = segments_of(history)
        groups = list(self._groups())
        number = next(index for index, group in enumerate(groups) if said in group.members)
        moved = None if self._seen is None else why_moved(history, self._seen)
        sights = set[tuple[Sight, int | None]]()
        if moved is not None:
            sights.add((moved, None))
        elif all(map(is_of_a_turn, history)):
            for start, sight in self._begin(history, segments, groups, number):
                sights.update([(sight, None)] if start is None else self._align(segments, start, groups, number, said))
        sight, place = sights.pop() if len(sights) == 1 else (Sight.ODD, None)
        return segments, groups, number, sight, place

    def _shows_what_was_heard(self, segments: list[Segment], groups: list[Group]) -> bool:
        """Whether a reading that ends before a message would lag if it lacked an answer; else whether it has one there.

        Args:
            segments: The reading.
            groups: What was said before the message.
        """
        if self._prior is None or self._tail is not None:
            return True
        if not groups:
            return bool(segments[-1].text)  # all that can be known where the process is gone that was told it
        return any(group.head is not None and group.heard and group.heard.size for group in groups)

    def _groups(self) -> Iterator[Group]:
        members: list[Said] = []
        for said in self._entries:
            if members and not said.is_empty:
                yield Group(members)
                members = []
            members.append(said)
        yield Group(members)

    def _align(
        self, segments: list[Segment], start: int, groups: list[Group], number: int, said: Said
    ) -> AbstractSet[tuple[Sight, int | None]]:
        """All that a message may be by a reading: mostly one thing.

        Messages of unknown fate may be missing before it. What would then stand there that was not said is left aside
        where the reading can be explained to its end.
        """
        places, sights = {start}, set[tuple[Sight, int | None]]()
        for group in groups[:number]:
            later: set[int] = set()
            head = group.head
            may_be_missing = head is not None and not head.is_certain
            if may_be_missing and len(group.members) > 1:
                return _ODD  # where the words without a message belong is not known
            for place in places:
                if may_be_missing:
                    later.add(place)
                at = place - 1 if head is None else place
                is_there = at < len(segments)
                match = group.matches(segments[at], is_last=at == len(segments) - 1) if is_there else Sight.LAGS
                if match is Sight.ARRIVED:
                    later.add(at + 1)
                elif not may_be_missing:
                    sights.add((match, None))
            places = later
        sights.update(self._judge(segments, place, groups[number], said) for place in places)
        explained = ((Sight.ABSENT, None), (Sight.ARRIVED, len(segments) - 1))
        return sights - _ODD if any(each in sights for each in explained) else sights

    def _begin(
        self, history: Sequence[Message], segments: list[Segment], groups: list[Group], number: int
    ) -> Iterator[tuple[int | None, Sight]]:
        """How many segments may stand before what is known in order; ``None``, and why, if that cannot be told."""
        if self._prior is not None:
            yield self._behind_prior(self._prior, segments, groups)
            return
        if self._base is not None:
            yield len(segments_of(history[: self._base[0]])), Sight.ARRIVED  # it has not moved, nor has what followed
            return
        first = groups[0]
        heard = first.heard
        if number == 0 or first.head is None or heard is None or not heard.size or not heard.whole:
            yield None, Sight.ODD
            return
        starts = [
            index
            for index in range(1, len(segments))
            if first.matches(segments[index], is_last=index == len(segments) - 1) is Sight.ARRIVED
        ]
        yield from ((index, Sight.ARRIVED) for index in starts)
        if not starts:
            yield None, Sight.LAGS

    def _behind_prior(
        self, prior: Mapping[str, int], segments: list[Segment], groups: list[Group]
    ) -> tuple[int | None, Sight]:
        """How many segments stand before what was said since: those of all that was said before, and heard last."""
        before = Counter(prior)
        empty = before.pop(EMPTY, 0)
        many = sum(before.values())
        keys = Counter(segment.key for segment in segments[1 : many + 1])
        closed = segments[: many if groups[0].head is None else many + 1]  # where nothing has been said since
        unasked = segments[0].text if closed and not empty else ""
        if not keys <= before or unasked or sum(segment.empty_messages for segment in closed) > empty:
            return None, Sight.ODD
        if sum(keys.values()) < many:
            return None, Sight.LAGS
        tail = self._tail
        if tail is None:
            return many + 1, Sight.ARRIVED
        if groups[0].head is None:
            tail = tail._replace(whole=False)  # what was heard since stands behind it
        sight = segments[many].sight_of(tail, is_last=many == len(segments) - 1)
        return (many + 1 if sight is Sight.ARRIVED else None), sight

    def _judge(self, segments: list[Segment], place: int, group: Group, said: Said) -> tuple[Sight, int | None]:
        """What a message is, all before its group being where it belongs."""
        if not said.is_empty:
            if place >= len(segments):
                return Sight.ABSENT, None
            return (Sight.ARRIVED, place) if segments[place].key == said.key else (Sight.ODD, None)
        head = group.head
        at = place - 1 if head is None else place
        if at >= len(segments):
            return Sight.LAGS, None
        segment = segments[at]
        before = self._before(said)
        if (head is not None and segment.key != head.key) or before is None or not before.whole:
            return Sight.ODD, None
        if len(segment.text) < before.size:
            return Sight.LAGS, None
        if not before.begins(segment.text):
            return Sight.ODD, None
        if len(segment.text) > before.size or segment.last_empty > self._last_empty(said, before.size):
            return Sight.ARRIVED, at
        if said.is_certain and at == len(segments) - 2:
            return Sight.ARRIVED, at + 1  # it was accepted, and is recorded in words of the service's own
        return (Sight.ABSENT if at == len(segments) - 1 else Sight.ODD), None

    def _last_empty(self, said: Said, size: int) -> int:
        """How many messages without words were said just before one, with nothing heard behind them."""
        number = first = self._entries.index(said)
        while first and self._entries[first - 1].is_empty and self._size_before(first - 1) == size:
            first -= 1
        return number - first

    def _size_before(self, number: int) -> int:
        before = self._before(self._entries[number])
        return -1 if before is None else before.size

    @staticmethod
    def _reply(segments: list[Segment], place: int, skipped: int) -> Reply:
        return segments[place].reply(skipped, is_last=place == len(segments) - 1)

    def _resembling(
        self, segments: list[Segment], groups: list[Group], number: int, said: Said, partial: str
    ) -> tuple[int, int] | None:
        """Where an answer stands in a reading that proves nothing, if no earlier one can be meant.

        Returns:
            The segment, and how many of its characters stand before the answer.
        """
        group, before, begins = groups[number], self._before(said), squeezed(partial)
        if len(segments) == 1 and begins and segments[0].text == begins and not (before and before.size):
            return 0, 0  # the latest entries alone, and our message is not among them
        head = group.head
        if head is None or before is None or not before.whole:
            return None
        place = self._last_alike(segments, head)
        if place is None or not before.begins(segments[place].text):
            return None
        if self._prior is not None and not said.is_empty:
            times = self._prior.get(head.key, 0) + sum(other.members[0].key == head.key for other in groups[:number])
            if sum(other.key == head.key for other in segments) > times:
                return place, before.size
        is_ours = bool(begins) and segments[place].text[before.size :].startswith(begins)
        return (place, before.size) if is_ours else None

    @staticmethod
    def _last_alike(segments: list[Segment], head: Said) -> int | None:
        """The last message equal to ours, or else the last message if it differs in white space alone."""
        for place in range(len(segments) - 1, 0, -1):
            if segments[place].key == head.key:
                return place
        last = segments[-1].message
        return len(segments) - 1 if last is not None and key_of(squeezed(last.text)) == head.alike else None
