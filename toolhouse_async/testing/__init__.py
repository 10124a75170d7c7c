"""A Workers API for tests: real conversations, streams, background jobs and faults, without the network.

The names are loaded on first use, since few programs need all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._context import Worker, WorkerContext
    from ._emulator import WorkersEmulator
    from ._events import BackgroundCall, StreamEvent, WorkerEvent, ndjson_object
    from ._faults import Cut, Fault, Faults
    from ._requests import RecordedRequest
    from ._server import EmulatorServer
    from ._thread import RunningEmulator

__all__ = [
    "BackgroundCall",
    "Cut",
    "EmulatorServer",
    "Fault",
    "Faults",
    "RecordedRequest",
    "RunningEmulator",
    "StreamEvent",
    "Worker",
    "WorkerContext",
    "WorkerEvent",
    "WorkersEmulator",
    "ndjson_object",
]

_HOMES = {
    "BackgroundCall": "_events",
    "Cut": "_faults",
    "EmulatorServer": "_server",
    "Fault": "_faults",
    "Faults": "_faults",
    "RecordedRequest": "_requests",
    "RunningEmulator": "_thread",
    "StreamEvent": "_events",
    "Worker": "_context",
    "WorkerContext": "_context",
    "WorkerEvent": "_events",
    "WorkersEmulator": "_emulator",
    "ndjson_object": "_events",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
