"""An emulator that serves from a thread of its own, for tests of any kind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal
from attrs import define, field

from ._emulator import WorkersEmulator

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._requests import RecordedRequest
    from ._server import EmulatorServer

__all__ = ["RunningEmulator", "running_emulator"]


@define(eq=False, kw_only=True)
class RunningEmulator(WorkersEmulator):
    """A ``WorkersEmulator`` that is being served on 127.0.0.1 from a thread with an event loop of its own.

    Workers and async background functions run in that thread. Switches, workers and faults may be changed
    from any other.

    Attributes:
        server: The server, with the record of its requests.
    """

    server: EmulatorServer = field(init=False, repr=False)

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return self.server.url

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests in order of arrival."""
        return self.server.requests

    @property
    def accepted(self) -> list[RecordedRequest]:
        """The recorded requests whose message was taken into a conversation."""
        return self.server.accepted


@contextmanager
def running_emulator() -> Generator[RunningEmulator]:
    """Serve a fresh emulator from a thread of its own within the block."""
    emulator = RunningEmulator()
    with (
        start_blocking_portal(name="toolhouse emulator") as portal,
        portal.wrap_async_context_manager(emulator.serve()) as emulator.server,
    ):
        yield emulator
