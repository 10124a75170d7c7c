"""What the extras bring."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec


def leave_out(names: list[str], needs: Mapping[str, str]) -> None:
    """Take names out of an ``__all__`` whose library is not installed: a star import brings the rest.

    Args:
        names: The list, which is changed at run time alone: type checkers see all of it.
        needs: The library that a name needs.
    """
    for name, library in needs.items():
        if find_spec(library) is None:
            names.remove(name)
