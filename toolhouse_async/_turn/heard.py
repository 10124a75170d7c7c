"""What was said and heard, and what stands for it where the words themselves are too long to keep."""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import blake2b
from typing import Final, NamedTuple


def key_of(words: str | None) -> str:
    """What stands for a message, in any process: its words may be long."""
    return b2a_base64(blake2b((words or "").encode("utf-8", "replace"), digest_size=9).digest(), newline=False).decode()


def squeezed(text: str) -> str:
    """Return a text without its white space: services store answers trimmed."""
    return "".join(text.split())


def first_of(text: str, size: int) -> str:
    """So many characters of a text, and the white space among them."""
    index = 0
    while size:
        size -= not text[index].isspace()
        index += 1
    return text[:index]


def goes_on_from(text: str, partial: str) -> bool:
    """Whether a text is what was received and more, or the same, whatever white space it is stored with."""
    return text.startswith(partial) or squeezed(text).startswith(squeezed(partial))


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts differ in white space alone."""
    return one == other or squeezed(one) == squeezed(other)


def is_shorter(text: str, partial: str) -> bool:
    """Whether a text is too short to be all that was received, white space left aside."""
    return len(squeezed(text)) < len(squeezed(partial))


EMPTY: Final = key_of("")


class Heard(NamedTuple):
    """What was heard behind a message that has words, all its rounds together; white space is left aside.

    Attributes:
        pieces: Of each round, how many characters it has, and what stands for them.
        whole: Whether that is all that the worker has said there.
        more: Characters that were heard behind them, nobody knows where.
    """

    pieces: tuple[tuple[int, str], ...]
    whole: bool
    more: int = 0

    @property
    def size(self) -> int:
        """Characters of it."""
        return sum(size for size, _ in self.pieces)

    def begins(self, text: str) -> bool:
        """Whether a text without white space begins with it."""
        start = 0
        for size, key in self.pieces:
            if len(text) < start + size or key_of(text[start : start + size]) != key:
                return False
            start += size
        return True

    def followed_by(self, text: str, *, whole: bool) -> Heard:
        """The same with one round more; where it begins is not known behind one that is not whole."""
        text = squeezed(text)
        if not self.whole:
            return self._replace(more=self.more + len(text))
        return Heard((*self.pieces, (len(text), key_of(text))) if text else self.pieces, whole)


NOTHING_HEARD: Final = Heard((), whole=True)
NOTHING_YET: Final = Heard((), whole=False)


class Said:
    """A message that the service has accepted, or may have.

    What stands for its words is found out when it is asked for, or when they are dropped: most conversations need none.

    Attributes:
        is_empty: Whether it has no words, as the resume after a job.
        is_certain: Whether it was accepted.
        heard: What was heard behind it, and behind what was said without words before it; ``None`` if nobody knows.
    """

    __slots__ = ("_alike", "_key", "_words", "heard", "is_certain", "is_empty")

    def __init__(self, words: str | None) -> None:
        self.is_empty: bool = not words
        self.is_certain: bool = False
        self.heard: Heard | None = None
        self._words: str = words or ""
        self._key: str | None = None
        self._alike: str | None = None

    @property
    def key(self) -> str:
        """What stands for its words."""
        if self._key is None:
            self._key = key_of(self._words)
        return self._key

    @property
    def alike(self) -> str:
        """What stands for them where white space is left aside."""
        if self._alike is None:
            self._alike = key_of(squeezed(self._words))
        return self._alike

    @classmethod
    def of_key(cls, key: str) -> Said:
        """A message of which only that is known which stands for its words."""
        said = cls(None)
        said._key, said._alike, said.is_empty = key, "", key == EMPTY
        return said

    def drop_words(self) -> None:
        """Keep only what stands for them: they may be long."""
        self._key, self._alike, self._words = self.key, self.alike, ""
