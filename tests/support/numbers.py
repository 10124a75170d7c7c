"""Numbers as other libraries have them: neither ``int`` nor ``float``."""

from __future__ import annotations

import numbers


class Whole:
    """An integer such as numpy's ``int64``."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Truth:
    """A truth value such as numpy's ``bool_``, whose ``__index__`` refuses."""

    def __index__(self) -> int:
        raise TypeError("a truth value is no integer")


class Floating:
    """A real number such as numpy's ``float32``."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return self._value


numbers.Integral.register(Whole)
numbers.Real.register(Floating)
