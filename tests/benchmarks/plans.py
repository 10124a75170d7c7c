"""What the server is to answer: a plan, written as the agent id of the request."""

from __future__ import annotations

from typing import Self

from attrs import frozen


@frozen
class Plan:
    """One kind of answer.

    Attributes:
        kind: ``burst``: all of it in one write, ``pause`` after the message. ``paced``: one write a chunk, ``pause``
            apart, to the microsecond. ``drip``: the same by the server's timers, for very many at once. ``stamped``: as
            ``paced``, each event's text being the time it was written. ``idle``: one event and then nothing. ``job``: a
            job is running, answered after ``pause``.
        count: Events.
        per_chunk: Events in one HTTP chunk.
        pause: Microseconds between writes, or before the first.
        padding: Bytes by which each event is longer.
        tools: Of so many events one is a tool's call and one its result; 0: all are words.
        shape: The shape of the words, one of ``shapes.SHAPES``.
    """

    kind: str
    count: int = 1
    per_chunk: int = 1
    pause: int = 0
    padding: int = 0
    tools: int = 0
    shape: str = "text"

    def __str__(self) -> str:
        return f"{self.kind}-{self.count}-{self.per_chunk}-{self.pause}-{self.padding}-{self.tools}-{self.shape}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote."""
        kind, *numbers, shape = text.split("-")
        return cls(kind, *map(int, numbers), shape)
