"""Every sequence of choices, one run after another."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Option: TypeAlias = tuple[str, int]
"""A name, and how many faults it costs: 0 or 1."""


class Made(NamedTuple):
    """A choice that was made in this run.

    Attributes:
        what: What was to be chosen.
        name: What was.
        number: Its place among the options that could be paid for.
        of: How many those were.
    """

    what: str
    name: str
    number: int
    of: int


class Choices:
    """Enumerates choices depth first, by playing the same run again with one choice changed.

    A run asks :meth:`pick` whenever something may go one way or another. The first run takes the first option each
    time; every next run repeats the last one up to the last choice that has options left, and takes the next there. So
    each sequence whose faults are within the budget is played exactly once, provided that a run depends on its choices
    alone.

    Args:
        faults: The most that the options of one run may cost together.
    """

    def __init__(self, faults: int) -> None:
        self._faults = faults
        self._prefix: list[int] = []
        self._left = faults
        self.made: list[Made] = []

    def begin(self) -> None:
        """Begin a run."""
        self.made = []
        self._left = self._faults

    def pick(self, what: str, *options: Option) -> str:
        """Choose one of the options, the first of which must be free; returns its name."""
        offered = [option for option in options if option[1] <= self._left]
        place = len(self.made)
        number = self._prefix[place] if place < len(self._prefix) else 0
        name, price = offered[number]
        self._left -= price
        self.made.append(Made(what, name, number, len(offered)))
        return name

    def next(self) -> bool:
        """Make ready for the next run; ``False`` if there is none."""
        made = self.made
        while made and made[-1].number + 1 >= made[-1].of:
            made.pop()
        if not made:
            return False
        self._prefix = [each.number for each in made]
        self._prefix[-1] += 1
        return True

    @property
    def script(self) -> tuple[str, ...]:
        """What went another way than the first in this run, in order."""
        return tuple(f"{each.what}: {each.name}" for each in self.made if each.number)

    @property
    def story(self) -> str:
        """The same in one line; ``×3`` stands for the third time that this was to be chosen."""
        times: dict[str, int] = {}
        told = []
        for each in self.made:
            times[each.what] = times.get(each.what, 0) + 1
            if each.number:
                told.append(f"{each.what} ×{times[each.what]}: {each.name}")
        return "; ".join(told) or "nothing went wrong"
