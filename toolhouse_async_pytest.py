"""The pytest fixture ``toolhouse_emulator``.

Every pytest run of an environment with this package loads this module. So it stands outside of the package, and
imports that only where a test asks for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolhouse_async.testing import RunningEmulator

__all__ = ["toolhouse_emulator"]


@pytest.fixture
def toolhouse_emulator() -> Iterator[RunningEmulator]:
    """A Workers API of the test's own, see ``toolhouse_async.testing.RunningEmulator``.

    It is served from a thread of its own and works in sync tests and with any async test plugin.
    """
    from toolhouse_async.testing._thread import running_emulator

    with running_emulator() as emulator:
        yield emulator
