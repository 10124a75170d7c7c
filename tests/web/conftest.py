"""A Redis server for the hubs on one, and connections to it that are made at less expense."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.stores import redis_server

__all__ = ["redis_server"]


@pytest.fixture(scope="package", autouse=True)
def versions_are_read_once() -> Iterator[None]:
    """redis-py asks for its own version with each connection, and takes longer for that than for connecting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "version", cache(importlib.metadata.version))
        yield
