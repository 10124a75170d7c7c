"""``Session.ask``: an answer in a type of the user's, and another chance for the worker."""

from __future__ import annotations

import json
import logging
import pickle
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pydantic
import pytest

from toolhouse_async import AnswerFormatError, AsyncToolhouse, ConfigurationError, ServerError, Session, ToolhouseError
from toolhouse_async.testing import WorkersEmulator


@dataclass
class Point:
    x: int
    y: int


class Model(pydantic.BaseModel):
    x: int


class FrozenModel(pydantic.BaseModel, frozen=True):
    x: int


@dataclass(frozen=True)
class Frozen:
    x: int


class NoType:
    def __init__(self, x: int) -> None: ...


@asynccontextmanager
async def session_of(*answers: str) -> AsyncIterator[tuple[Session, list[str], Any]]:
    """A session with a worker that says these answers, one after the other, and what it was told."""
    told: list[str] = []
    emulator = WorkersEmulator()

    @emulator.worker("a")
    async def worker(ctx: Any) -> Any:
        told.append(ctx.message)
        yield ctx.text(answers[len(told) - 1])

    async with (
        emulator.serve() as server,
        AsyncToolhouse("", base_url=server.url) as toolhouse,
        toolhouse.session("a") as session,
    ):
        yield session, told, (server, emulator)


async def test_an_answer_that_fits() -> None:
    async with session_of('Here: {"x": 1, "y": 2}', "[3]") as (session, told, _):
        assert await session.ask("Where?", Point) == Point(1, 2)
        assert await session.ask("More", list[int], attempts=3, timeout=5) == [3]
        assert told == ["Where?", "More"]


async def test_the_worker_is_told_what_was_wrong(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolhouse_async")
    async with session_of("It is far.", '{"x": "one"}', '{"x": 1, "y": 2}') as (session, told, _):
        assert await session.ask("Where?", Point, attempts=3) == Point(1, 2)
        run_id = session.run_id
    first, second, third = told
    assert first == "Where?"
    assert "no JSON" in second
    assert "x" in third
    assert "y" in third
    assert all("whole answer again, as JSON alone" in message for message in (second, third))
    logged = [record.getMessage() for record in caplog.records if not hasattr(record, "toolhouse")]
    assert logged == [f"run {run_id}: answer {number} of at most 3 is no Point" for number in (1, 2)]


async def test_the_worker_is_told_what_is_allowed() -> None:
    label: Any = Literal["bad", "good"]
    async with session_of('["mixed"]', '["bad"]') as (session, told, _):
        assert await session.ask("Which?", list[label], attempts=2) == ["bad"]
    assert '"mixed" is none of "bad", "good"' in told[1]


async def test_pydantic_says_what_was_wrong_without_its_links() -> None:
    async with session_of('{"x": "one"}', '{"x": 1}') as (session, told, _):
        assert await session.ask("Where?", Model, attempts=2) == Model(x=1)
    assert "unable to parse string" in told[1]
    assert "http" not in told[1]


@pytest.mark.parametrize("attempts", [1, 2])
async def test_no_answer_fits(attempts: int) -> None:
    async with session_of("no", '{"x": 5}') as (session, told, _):
        with pytest.raises(AnswerFormatError, match=f"no Point after {attempts} attempt") as caught:
            await session.ask("Where?", Point, attempts=attempts)
        error = caught.value
        assert isinstance(error, ValueError)
        assert isinstance(error, ToolhouseError)
        assert error.partial is not None
        assert error.partial.text == ("no", '{"x": 5}')[attempts - 1]
        assert (error.attempts, len(told), error.safe_to_retry) == (attempts, attempts, False)
        assert error.run_id == session.run_id
    again = pickle.loads(pickle.dumps(error))
    assert (again.attempts, again.partial, str(again)) == (attempts, error.partial, str(error))


async def test_a_long_reason_is_cut() -> None:
    wrong = json.dumps({f"key{number}": number for number in range(2000)})
    async with session_of(wrong, '{"x": 1}') as (session, told, _):

        class Closed(pydantic.BaseModel, extra="forbid"):
            x: int

        assert (await session.ask("Where?", Closed, attempts=2)).x == 1
    assert len(told[1]) < 2500


@pytest.mark.parametrize("attempts", [0, -1, True, 2.0, "2", None])
async def test_attempts_are_a_count(attempts: Any) -> None:
    async with session_of() as (session, told, _):
        with pytest.raises(ConfigurationError, match="attempts must be"):
            await session.ask("Where?", Point, attempts=attempts)
        assert told == []


async def test_what_cannot_be_asked_for_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session_of() as (session, told, (server, _)):
        with pytest.raises(ConfigurationError, match="whole answer"):
            await session.ask("Where?", Point, background="detach")
        with pytest.raises(ConfigurationError, match="unknown options"):
            await session.ask("Where?", Point, speed=5)  # type: ignore[call-arg]
        with pytest.raises(ConfigurationError, match="a message must be"):
            await session.ask(5, Point)  # type: ignore[arg-type]
        for wrong in (
            None,
            NoType,
            list[NoType],
            "Point",
            Point(1, 2),
            Frozen(1),
            Model(x=1),
            FrozenModel(x=1),
            {"x": int},
        ):
            with pytest.raises(ConfigurationError, match="no answer can be parsed as"):
                await session.ask("Where?", wrong)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "cattrs.preconf.orjson", None)
        with pytest.raises(ConfigurationError, match=r"toolhouse-async\[parse\]"):
            await session.ask("Where?", Point)
        assert told == []
        assert server.requests == []


async def test_a_turn_that_fails_is_not_made_again() -> None:
    async with session_of("no", '{"x": 1, "y": 2}') as (session, told, (server, emulator)):
        emulator.faults.add(method="PUT", status=500, accept=True)
        with pytest.raises(ServerError):
            await session.ask("Where?", Point, attempts=5)
        assert len(told) <= 2
        assert [request.method for request in server.requests if request.method != "GET"] == ["POST", "PUT"]
