"""What users do in the courses of a turn: programs, each a row of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from toolhouse_async._values.options import Options

Step = tuple[str, str, Options]
"""What a program does, the message that it sends, and the options."""

CALM: Final = Options()
SETTLED: Final = Options(settle=True)
TEXT: Final = Options(format="text")


def sends(name: str, options: Options = CALM) -> Step:
    """Send a message while all may happen."""
    return "send", name, options


FINDS_OUT: Final[tuple[Step, ...]] = (("calm", "", CALM), ("reconcile", "", CALM), ("reconcile", "", CALM))
GOES_ON: Final[tuple[Step, ...]] = (*FINDS_OUT, ("send", "z", CALM), ("last", "", CALM))
BEFORE: Final[tuple[Step, ...]] = (("calm", "", CALM), ("send", "a", CALM), ("trouble", "", CALM))


def recovered_elsewhere(name: str) -> tuple[Step, ...]:
    """A process may be killed at any step; another, which has heard nothing, recovers that message, or the last one.

    It does so in trouble and without, and goes on.
    """
    recovers: Step = ("recover", name, CALM)
    steps: tuple[Step, ...] = (("mortal", "b", CALM), ("elsewhere", "", CALM), recovers, ("calm", "", CALM), recovers)
    return (*BEFORE, *steps, ("agrees", "", CALM), ("send", "z", CALM), ("last", "", CALM))


def reconciled_elsewhere(name: str) -> tuple[Step, ...]:
    """A process may be killed at any step; another, which has heard nothing, finds out what became of its message."""
    return ("mortal", name, CALM), ("elsewhere", "", CALM), *GOES_ON


IN_DOUBT: Final[Step] = "doubt", "", CALM
"""The program is over if it is known what became of the last message."""
KEYED: Final[Step] = "keyed", "", CALM
"""The conversation has a key, and a store keeps what is written down of it."""

PROGRAMS: Final[Mapping[str, tuple[Step, ...]]] = {
    "first": (sends("a"), *GOES_ON),
    "second": (*BEFORE, sends("b"), *GOES_ON),
    "same-words": (*BEFORE, sends("a"), *GOES_ON),
    "settled": (*BEFORE, sends("b", SETTLED), *GOES_ON),
    "two": (sends("a"), sends("b"), *GOES_ON),
    "third": (*BEFORE, sends("b"), IN_DOUBT, sends("c"), *GOES_ON),
    "wordless": (*BEFORE, sends("", Options(resume_message="go on")), *GOES_ON),
    "unhealed": (*BEFORE, sends("b", Options(recover=False)), *GOES_ON),
    "recovered-elsewhere": recovered_elsewhere("b"),
    "last-recovered-elsewhere": recovered_elsewhere(""),
    "keyed-recovered-elsewhere": (KEYED, *recovered_elsewhere("b")),
    "keyed-last-recovered-elsewhere": (KEYED, *recovered_elsewhere("")),
    "keyed-first-reconciled-elsewhere": (KEYED, *reconciled_elsewhere("a")),
    "keyed-reconciled-elsewhere": (KEYED, *BEFORE, *reconciled_elsewhere("b")),
    "keyed-same-words-reconciled-elsewhere": (KEYED, *BEFORE, *reconciled_elsewhere("a")),
    "keyed-third-reconciled-elsewhere": (KEYED, *BEFORE, sends("b"), IN_DOUBT, *reconciled_elsewhere("c")),
}
