"""The chat, and browsers to look at it with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .site import Site, served


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The chat, served."""
    with served(tmp_path) as site:
        yield site
