"""The chat, served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .site import Site, served


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The chat, with nobody in it."""
    with served(tmp_path) as site:
        yield site
