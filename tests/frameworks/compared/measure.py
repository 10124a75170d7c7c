"""What becomes of each program in each moment, in the words of the page's tables."""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import field, frozen

from tests.support.raw_server import RawServer

from .program import Program
from .service import ANSWER, SENT, WORDS, Service

ROOT = Path(__file__).parents[3]


@frozen
class Heard:
    """What a reader of an answer got.

    Attributes:
        words: The words.
        error: What was raised behind them.
        warned: Whether a warning was issued.
        accepted: How often the service accepted the message.
    """

    words: list[str] = field(factory=list)
    error: Exception | None = None
    warned: bool = False
    accepted: int = 1

    @property
    def received(self) -> int:
        """How many of the words that were sent before the answer broke off."""
        return sum(mine == word for mine, word in zip(self.words, WORDS[:SENT], strict=False))

    def __str__(self) -> str:
        assert self.accepted == 1
        received = "all" if self.received == SENT else f"{self.received} of {SENT}"
        return f"{received}, then {self._end()}"

    def _end(self) -> str:
        if self.error is not None:
            return f"`{type(self.error).__name__}`"
        if "".join(self.words) == ANSWER:
            return "the rest"
        if len(self.words) <= SENT:
            return "an end as if whole"
        return "the end, with a gap" + " and a warning" * self.warned


@asynccontextmanager
async def served(program: Program, service: Service) -> AsyncIterator[Any]:
    """A client of the program's, and the service behind it."""
    async with RawServer(service) as server, program.connect(server.url) as client:
        yield client


async def sending(program: Program, fault: str | bytes) -> tuple[int, Exception | None, Service]:
    """Send a message; return how often it was accepted, and the error."""
    service = program.service(fault)
    error = None
    async with served(program, service) as client:
        try:
            await program.ask(client)
        except Exception as raised:  # noqa: BLE001 - each client has its own
            error = raised
    return len(service.accepted), error, service


def fate(accepted: int, error: Exception | None) -> str:
    """The words for it."""
    return f"{accepted} ×, `{type(error).__name__}`" if error else f"{accepted} ×, an answer"


def advice(error: Exception) -> str:
    """What an error says of sending the message again."""
    if hasattr(error, "safe_to_retry"):
        return f"`safe_to_retry` is `{error.safe_to_retry}`"
    words = ("retr", "safe", "sent", "idempot", "again")
    assert [name for name in dir(error) if any(word in name.lower() for word in words)] == []
    assert not any(word in str(error).lower() for word in words)
    return (
        "“No request was sent”, in its docstring" if "No request was sent" in (type(error).__doc__ or "") else "nothing"
    )


async def reading(program: Program, fault: str, pause: float = 0.0, **troubles: Any) -> Heard:
    """Read an answer that breaks off, ``pause`` seconds being spent on its first word."""
    service = program.service(fault, **troubles)
    words: list[str] = []
    error = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        async with served(program, service) as client:
            try:
                async with aclosing(program.speak(client, {})) as speech:
                    async for word in speech:
                        words.append(word)
                        await asyncio.sleep(pause)
                        pause = 0.0
            except Exception as raised:  # noqa: BLE001 - each client has its own
                error = raised
    return Heard(words, error, bool(warned), len(service.accepted))


async def after_a_kill(program: Program) -> str:
    """Kill a process that reads an answer, and go on with what it had noted."""
    service = program.service("half")
    with TemporaryDirectory() as folder:
        note = Path(folder) / "note.json"
        async with RawServer(service) as server:
            noted = await _killed(program, server.url, note)
            async with program.connect(server.url) as client:
                found = await program.go_on(client, noted["seen"])
    assert len(service.accepted) == 1
    if found == ANSWER:
        return "the whole answer"
    assert "".join(noted["words"]) + found == ANSWER
    return "the rest"


async def _killed(program: Program, url: str, note: Path) -> Any:
    settings = json.dumps(program.settings)
    module = "tests.frameworks.compared.victim"
    victim = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, program.package, settings, url, str(note)), cwd=ROOT
    )
    try:
        while not note.exists() or len(json.loads(note.read_text("utf-8"))["words"]) < SENT:
            assert victim.returncode is None, "it ended by itself"
            await asyncio.sleep(0.05)
    finally:
        if victim.returncode is None:
            victim.kill()
        await victim.wait()
    return json.loads(note.read_text("utf-8"))


async def waiting(program: Program, **troubles: Any) -> str:
    """Wait for a job of a minute, with troubles on the way."""
    service = program.service(**troubles)
    async with served(program, service) as client:
        try:
            with warnings.catch_warnings(action="ignore"):
                outcome = await program.wait(client, {})
        except Exception as raised:  # noqa: BLE001 - each client has its own
            return f"`{type(raised).__name__}`"
    assert outcome == ANSWER, outcome
    assert not service.troubled or service.away
    return "the outcome"


async def joining(program: Program) -> str:
    """Leave a job after ten seconds, and wait for its outcome with another client."""
    service = program.service()
    seen: dict[str, Any] = {}
    async with RawServer(service) as server:
        async with program.connect(server.url) as client:
            first = asyncio.create_task(program.wait(client, seen))
            await asyncio.sleep(10)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        async with program.connect(server.url) as client:
            outcome = await program.join(client, json.loads(json.dumps(seen)))
    assert outcome == ANSWER, outcome
    return "the outcome"


async def cancelling(program: Program) -> str:
    """Cancel a task that reads an answer, and look a second later whether its connection is open."""
    service = program.service("half")
    words: list[str] = []

    async def read(client: Any) -> None:
        async for word in program.speak(client, {}):
            words.append(word)

    async with RawServer(service) as server, program.connect(server.url) as client:
        reader = asyncio.create_task(read(client))
        await service.half.wait()
        while len(words) < SENT:
            await asyncio.sleep(0.1)
        assert server.open_connections == 1
        reader.cancel()
        (outcome,) = await asyncio.gather(reader, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)
        await asyncio.sleep(1)
        return "open" if server.open_connections else "closed"
