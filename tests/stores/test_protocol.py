"""What is taken for a store."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolhouse_async import ConfigurationError
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.stores._protocol import check_store


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("sessions.db", "not str"),
        (Path("sessions.db"), "not .*Path"),
        (MemorySessionStore, "not the class MemorySessionStore"),
        (int, "not the class int"),
        (SimpleNamespace(read=None), "not SimpleNamespace"),
        (SimpleNamespace(swap=None), "not SimpleNamespace"),
    ],
)
def test_what_is_no_store(store: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"must be a SessionStore, such as .*, {told}$"):
        check_store(store)


def test_what_is_one() -> None:
    check_store(MemorySessionStore())
    check_store(SimpleNamespace(read=None, swap=None))  # the methods alone count
