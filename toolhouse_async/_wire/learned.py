"""What a stream's lines have in common, learned as it goes, so that most of them are read at the same low price.

Lines of words differ in their words alone, most of the time. What stands before and behind the words is then the same
text on every line, and words between them that need no escape in JSON are what a parser would find. The same holds for
lines of a type that is not known, such as a worker's thoughts: nothing depends on what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise, repeat
from json.encoder import encode_basestring as quoted
from typing import Any, Final, NamedTuple

from ..events import Event, TextDelta, UnknownEvent
from .jsontext import parse_line
from .streamed import Streamed

_SAMPLE: Final = "some words"
_APART: Final = "\x7f"
"""What hardly any words have."""
_TRIES: Final = 4
_LONGEST_PAUSE: Final = 1000


def _is_plain(words: str) -> bool:
    return bool(words) and '"' not in words and "\\" not in words


def _odd(parts: Sequence[str]) -> Iterable[int]:
    """The places of the parts that hold a newline or an escape: few, so that one text is searched for them."""
    text = _APART.join(parts).replace("\\", "\n")
    if text.count(_APART) >= len(parts):
        return [at for at, part in enumerate(parts) if "\n" in part or "\\" in part]
    before = [piece.count(_APART) for piece in text.split("\n")]
    before.pop()
    return dict.fromkeys(accumulate(before))


class Form(NamedTuple):
    """What stands before and behind the words of a line.

    Attributes:
        before: What stands before them, with the quote.
        after: What stands behind them.
        is_whole: Whether the words are a whole message.
        unknown: The type that is not known of which the lines are; ``None`` where the words are the worker's.
        in_deltas: Whether the words are of a type for pieces alone, or came behind such.
    """

    before: str
    after: str
    is_whole: bool
    unknown: str | None = None
    in_deltas: bool = False

    def words_in(self, line: bytes) -> str:
        """The worker's words on a line of the form that is JSON; ``""`` for any other."""
        if self.unknown is not None:
            return ""
        before, after = self.before.encode(), self.after.encode()
        if not (line.startswith(before) and line.endswith(after)):
            return ""
        words = line[len(before) : -len(after)].decode()
        return words if len(quoted(words)) == len(words) + 2 else ""

    def runs(self, parts: list[str]) -> Iterator[tuple[list[str], int]]:
        """Lines of words that follow one another, and how many other lines come behind them."""
        if parts[0]:
            yield [], parts[0].count("\n")
        words: list[str] = []
        first, last = 1, len(parts) - 1
        before, after = f"\n{self.before}", f"{self.after}\n"
        for at in _odd(parts):
            if not 0 < at < last:
                continue
            words += parts[first:at]
            between, latest = parts[at], []
            # The line that it begins with, and the one that it ends with, may be of the form, too.
            begin, found, rest = between.partition(after)
            if found and _is_plain(begin):
                words.append(begin)
                between = rest
            rest, found, end = between.rpartition(before)
            if found and _is_plain(end):
                between, latest = rest, [end]
            yield words, between.count("\n") + 1
            words, first = latest, at + 1
        yield words + parts[first:last], parts[last].count("\n")

    def parts(self, lines: Sequence[bytes]) -> list[str]:
        """The words of lines, and pieces of other lines: what stands between two lines of the form.

        The first and the last are empty where the first and the last line are of the form.

        Raises:
            UnicodeDecodeError: Some line is not UTF-8.
        """
        text = b"\n".join(lines).decode()
        return f"{self.after}\n{text}\n{self.before}".split(f"{self.after}\n{self.before}")


def are_words(parts: Sequence[str]) -> bool:
    """Whether all parts are words that JSON writes as they are."""
    text = "".join(parts)
    return len(quoted(text)) == len(text) + 2 and "" not in parts


def deltas(words: Sequence[str], lines: Sequence[bytes]) -> list[Event]:
    """The events of words; set by hand, they are made in half the time."""
    made: list[Any] = list(map(object.__new__, repeat(TextDelta, len(words))))
    for event, event.text, event.line in zip(made, words, lines):  # type: ignore[has-type]  # noqa: B007, B905 - sets them
        pass
    return made


def unknowns(kind: str, lines: Sequence[bytes]) -> list[Event]:
    """The events of lines of a type that is not known; each parses its data when they are asked for."""
    made: list[Any] = list(map(object.__new__, repeat(UnknownEvent, len(lines))))
    for event, event.type, event.line in zip(made, repeat(kind), lines):  # type: ignore[has-type]  # noqa: B007
        pass
    return made


def _form_of_unknown(kind: str | None, line: str, following: str) -> Form | None:
    """The form of two lines of a type that is not known, which differ in one of their texts.

    What stands for the text in the form is within a text, or the sample would not be JSON; it is the name of no field,
    nor the type, nor what makes an error of a line.
    """
    same = next((at for at, (one, other) in enumerate(zip(line, following, strict=False)) if one != other), len(line))
    begin, end = line.rfind('"', 0, same) + 1, line.find('"', same)
    before, after = line[:begin], line[end:]
    if end < 0 or kind is None or after[1:].lstrip().startswith(":"):
        return None
    sample = parse_line(f"{before}{_SAMPLE}{after}".encode())
    is_sure = type(sample) is dict and sample.get("type") == kind and not ("error" in sample or "errorText" in sample)
    return Form(before, after, is_whole=False, unknown=kind) if is_sure else None


class Stream(Streamed):
    """What is known of one stream: what it has said and begun, and what its lines look like.

    Attributes:
        event: The event that a line of Server-Sent Events has named for the data that follow.
        pending: Lines of data that are none by themselves, each with its number.
        form: What most lines look like.
        has_deltas: Whether words came in a type that is for pieces alone.
        version: That of the decoder's shapes by which this was learned.
    """

    __slots__ = ("_misses", "_pause", "event", "form", "has_deltas", "pending", "version")

    def __init__(self) -> None:
        super().__init__()
        self.event: str | None = None
        self.pending: tuple[tuple[bytes, int], ...] = ()
        self.form: Form | None = None
        self.has_deltas: bool = False
        self.version: int = 0
        self._misses = 0  # forms that did not fit, or could not be learned, one after the other
        self._pause = 0  # how often to wait before trying again

    def forget(self) -> None:
        """Forget what lines look like: it does not hold any more."""
        self.form = None

    def holds(self, form: Form) -> bool:
        """Whether lines of the form are still read so."""
        if form.is_whole:
            self.count()
        return self.form is form and self.is_plain and not (form.is_whole and self.in_pieces)

    def learn(
        self, lines: Sequence[bytes], read: Callable[[bytes, Stream], list[Event]], unknown: Container[str | None]
    ) -> Form | None:
        """The form of lines, learned from the first ones; ``None`` if they have none that is sure, or few lines fit it.

        Args:
            lines: The lines.
            read: What reads a line as one of another stream.
            unknown: Types that are met and not known: nothing depends on the rest of their lines.
        """
        if self._pause:
            self._pause -= 1
            return None
        if self.form is not None:
            return self.form
        for line, following in pairwise(lines[: _TRIES + 1]):
            self.form = self._form_of(line, following, read, unknown)
            if self.form is not None:
                return self.form
        self.missed()
        return None

    def missed(self, *, keeps: bool = False) -> None:
        """Note that the form fits no line, or (``keeps``) few: lines are compared with one later and later."""
        if not keeps:
            self.form = None
        self._misses = min(self._misses * 2 + 1, _LONGEST_PAUSE)
        self._pause = self._misses

    def fitted(self) -> None:
        """Note that the form fits."""
        self._misses = 0

    def _form_of(
        self,
        line: bytes,
        following: bytes,
        read: Callable[[bytes, Stream], list[Event]],
        unknown: Container[str | None],
    ) -> Form | None:
        other = Stream()
        other.has_deltas, other.version = self.has_deltas, self.version
        made = read(line, other)
        if len(made) == 1 and type(made[0]) is UnknownEvent and made[0].type in unknown:
            return _form_of_unknown(made[0].type, line.decode(errors="replace"), following.decode(errors="replace"))
        other.count()
        if self.of_others or len(made) != 1 or type(made[0]) is not TextDelta or not other.is_plain:
            return None
        words, text, is_whole = made[0].text, line.decode(errors="replace"), not other.in_pieces
        if (
            other.has_summed_up
            or text.count(f'"{words}"') != 1
            or not are_words([words])
            or (is_whole and self.in_pieces)
        ):
            return None
        before, after = text.split(f'"{words}"')
        form = Form(f'{before}"', f'"{after}', is_whole, in_deltas=other.has_deltas)
        sample = f"{form.before}{_SAMPLE}{form.after}".encode()
        return form if read(sample, Stream()) == [TextDelta(_SAMPLE)] else None

    @property
    def is_plain(self) -> bool:
        """Whether a line of words is read by itself; where a call has begun, it may have a piece of it, or end it."""
        return not (self.event or self.pending or self.of_others or self.begun)

    def add(self, form: Form, words: list[str], lines: Sequence[bytes], events: list[Event]) -> None:
        """Add the events of lines of a form, whose words JSON writes as they are, and note them."""
        if form.unknown is None:
            events += deltas(words, lines)
            self.say(form, words)
        else:
            events += unknowns(form.unknown, lines)
            self.pass_over(len(lines))

    def say(self, form: Form, words: list[str]) -> None:
        """Note words that follow one another, of a form."""
        self.has_deltas = self.has_deltas or form.in_deltas
        if form.is_whole:
            self.count()
            self.texts.extend(words)
            self.count(in_pieces=False)
            self._since = (0, 0)
        else:
            self.texts.extend(words)
