"""In every course of a turn its observers are told of it in order, and to its end."""

from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async._observers import METHODS

from . import scene, seam
from .explorer import explore
from .programs import PROGRAMS


class Witness:
    """Is told what a client does, and notes what comes out of order."""

    def __init__(self) -> None:
        self.turns: set[int] = set()
        self.requests: set[int] = set()
        self.told = 0
        self.wrong: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS.values():
            raise AttributeError(name)
        return self._see

    def _see(self, record: Any) -> None:
        self.told += 1
        kind = type(record).__name__
        if kind == "TurnBegun":
            self._note(record.turn not in self.turns, record)
            self.turns.add(record.turn)
        elif kind in ("RequestAnswered", "RequestFailed"):  # which may be shared, and end behind its turn
            self._note(record.request in self.requests, record)
            self.requests.discard(record.request)
        else:
            self._note(record.turn is None or record.turn in self.turns, record)
            if kind == "RequestBegun":
                self.requests.add(record.request)
            elif kind == "TurnEnded":
                self.turns.discard(record.turn)

    def _note(self, is_right: bool, record: Any) -> None:
        if not is_right:
            self.wrong.append(repr(record))


@pytest.mark.parametrize(
    "program",
    ["second", "unhealed", "closed", "timed-out", "cancelled", "detached", "looking", "waiting-together",
     "waiting-with-a-token", "waiting-in-two-sessions"],
)  # fmt: skip
def test_turns_and_requests_are_told_of_from_begin_to_end(
    program: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    witnesses: list[Witness] = []

    def client_of(world: Any) -> Any:
        witnesses.append(Witness())
        return seam.client_of(world, observers=[witnesses[-1]])

    monkeypatch.setattr(scene, "client_of", client_of)
    report = explore(PROGRAMS[program], faults=0, jobs=1)
    assert report.is_complete
    assert not report.found
    assert len(witnesses) == report.runs
    for witness in witnesses:
        assert witness.told > 4
        assert (witness.wrong, witness.turns, witness.requests) == ([], set(), set())
    assert "the observer" not in caplog.text
