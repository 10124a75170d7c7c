"""A turn that another process began, as readings of the history show it to a client that has heard nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from .._wire.entries import End, how_it_ends, is_message, is_of_a_turn
from .fold import Fold
from .heard import Said, first_of, is_same_text, key_of, squeezed
from .reading import Reply, Segment, Sight, segments_of
from .transcript import Found

if TYPE_CHECKING:
    from .._values.results import Message
    from .._wire.decode import EventDecoder
    from ..events import ToolCall, ToolResult


@frozen
class OthersTurn:
    """A message and all that stands behind it, up to the next message that is no resume.

    Attributes:
        segments: The message, and resumes that have words.
        is_last: Whether nobody has gone on since.
    """

    segments: tuple[Segment, ...]
    is_last: bool

    @property
    def words(self) -> str | None:
        """The message as it stands there."""
        message = self.segments[0].message
        return None if message is None else message.text

    @property
    def reply(self) -> Reply:
        """The worker's answer, all rounds of it."""
        replies = [segment.reply(0, is_last=self.is_last) for segment in self.segments]
        return Reply("".join(each.text for each in replies), replies[-1].end, sum(each.size for each in replies))

    @property
    def is_resumed(self) -> bool:
        """Whether a resume stands last, whose answer is still to come."""
        last = self.segments[-1]
        return is_message(last.entries[-1]) if last.entries else len(self.segments) > 1

    def fold(self, decoder: EventDecoder) -> Fold:
        """The same as if it had been received, a round behind each resume."""
        fold = Fold()
        for number, entries in enumerate(self._rounds()):
            if number:
                fold.next_round()
            fold.heal("".join(entry.text for entry in entries if entry.role == "assistant"))
            fold.take([], _tools_in(entries, decoder), 0, ends_in_tools=False)
        return fold

    def fold_before(self, reply: str, decoder: EventDecoder) -> Fold | None:
        """The same up to an answer that is still to be healed, whose round has begun; the tool calls of all of it.

        Args:
            reply: The words at the end of the turn that are that answer.
            decoder: Decodes tool calls.

        Returns:
            ``None`` where the turn does not end in these words.
        """
        rounds = [("".join(e.text for e in entries if e.role == "assistant"), entries) for entries in self._rounds()]
        text, ending = squeezed("".join(words for words, _ in rounds)), squeezed(reply)
        if not text.endswith(ending):
            return None
        left, fold = len(text) - len(ending), Fold()
        for words, entries in rounds:
            fold.take([], _tools_in(entries, decoder), 0, ends_in_tools=False)
            if left > 0:
                size = len(squeezed(words))
                fold.heal(words if size <= left else first_of(words, left))
                fold.next_round()
                left -= size
        return fold

    def _rounds(self) -> list[list[Message]]:
        rounds: list[list[Message]] = []
        for segment in self.segments:
            rounds.append([])
            for entry in segment.entries:
                if not is_message(entry):
                    rounds[-1].append(entry)
                elif rounds[-1]:
                    rounds.append([])
        return rounds

    @property
    def has_results(self) -> bool:
        """Whether the service records what tools have said."""
        return any(how_it_ends([entry]) is End.TOOL for segment in self.segments for entry in segment.entries)


@frozen
class Others:
    """What to look for: a message that another process has sent.

    Attributes:
        message: Its words; ``""`` for a conversation that was begun without; ``None`` for the last of the run.
        resume_message: What resumes say: such a message belongs to the turn before it, as one without words does.
    """

    message: str | None
    resume_message: str

    @classmethod
    def before(cls, words: str | None, *, is_resume: bool) -> Others:
        """The turn in which another process has said these words last."""
        return cls(None, words or "") if is_resume else cls(words or "", "")

    def find(self, history: Sequence[Message], said: Said, partial: str) -> Found:
        """Say what a reading shows of the message and of its answer."""
        turn = self.turn_in(history)
        if turn is None:
            return Found(Sight.LAGS, None)
        understood = all(is_of_a_turn(entry) for segment in turn.segments for entry in segment.entries)
        return Found(Sight.ARRIVED if understood else Sight.ODD, turn.reply)

    def turn_in(self, history: Sequence[Message]) -> OthersTurn | None:
        """Find it in a reading: where the same was said several times, the last of them."""
        segments = segments_of(history)
        resume = key_of(self.resume_message) if self.resume_message else None
        own = [place for place in range(1, len(segments)) if segments[place].key != resume]
        if self.message == "":
            begins = 0 if not own and segments[0].entries else None
        elif self.message is None:
            begins = own[-1] if own else None
        else:
            begins = self._last_alike(segments, own, self.message)
        if begins is None:
            return None
        ends = next((place for place in own if place > begins), len(segments))
        return OthersTurn(tuple(segments[begins:ends]), ends == len(segments))

    @staticmethod
    def _last_alike(segments: list[Segment], own: list[int], words: str) -> int | None:
        """The last message of these words; else the run's last, if it differs from them in white space alone."""
        key = key_of(words)
        for place in range(len(segments) - 1, 0, -1):
            if segments[place].key == key:
                return place
        last = segments[own[-1]].message if own else None
        return own[-1] if last is not None and is_same_text(last.text, words) else None


def _tools_in(entries: Sequence[Message], decoder: EventDecoder) -> list[ToolCall | ToolResult]:
    return [tool for entry in entries for tool in decoder.tools_in(entry.raw)]
