from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.answers import KEY, unused_port
from toolhouse_async import AsyncToolhouse, EventDecoder
from toolhouse_async import errors as er
from toolhouse_async import events as ev
from toolhouse_async._values.results import JobRecord, JobToken, ToolExchange, TurnResult
from toolhouse_async.web import failure
from toolhouse_async.web._failures import browser_json

from .support import AGENT, world_and_client

INSIDE = "10.0.0.7 said hunter2"
ALL = [getattr(er, name) for name in er.__all__]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("safe", [True, False, None])
def test_nothing_of_what_went_on_inside_is_told(kind: type[er.ToolhouseError], safe: bool | None) -> None:
    error = kind(INSIDE)
    error.run_id, error.headers, error.safe_to_retry = "run-inside", {"x": INSIDE}, safe
    told = failure(error)
    assert json.loads(json.dumps(told)) == told
    assert "inside" not in str(told)
    assert "10.0.0.7" not in str(told)
    assert (told["error"], told["safe_to_retry"], told["retry_after"]) == (kind.__name__, safe, None)
    assert told["message"][0].isupper()
    assert told["message"].endswith(".")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(12.4, "12 seconds"), (0.1, "1 second."), (None, "in a minute."), (0, "in a minute."), (31536000, "in 365 days.")],
)
def test_how_long_to_wait_is_told(seconds: float | None, said: str) -> None:
    told = failure(er.RateLimitError(INSIDE, status=429, retry_after=seconds, safe_to_retry=True))
    assert said in told["message"]
    assert told["retry_after"] == seconds


@pytest.mark.parametrize("error", [ValueError(INSIDE), KeyboardInterrupt(INSIDE), LookupError()])
def test_errors_of_others_are_all_alike(error: BaseException) -> None:
    assert failure(error)["error"] == "InternalError"
    assert "10.0.0.7" not in str(failure(error))


def test_what_to_do_depends_on_whether_it_is_safe() -> None:
    told = {failure(er.ServerError(safe_to_retry=safe))["message"] for safe in (True, False, None)}
    assert len(told) == 3
    assert "check" not in failure(er.NotSentError())["message"]


def test_what_was_refused_is_not_to_be_tried_again_as_it_is() -> None:
    other_words = failure(er.BadRequestError(status=400, safe_to_retry=True))["message"]
    ours = failure(er.AuthenticationError(status=401, safe_to_retry=True))["message"]
    assert failure(er.APIStatusError(status=413, safe_to_retry=True))["message"] == other_words
    assert failure(er.RedirectError(status=302, safe_to_retry=True))["message"] == ours
    for status in (402, 405, 407, 418, 451):
        assert failure(er.APIStatusError(status=status, safe_to_retry=True))["message"] == ours
    assert failure(er.APIStatusError(status=408, safe_to_retry=True))["message"] not in (ours, other_words)


READS = {
    "history": lambda client, run_id: client.history(AGENT, run_id),
    "job_status": lambda client, run_id: client.job_status(AGENT, run_id),
    "session.history": lambda client, run_id: client.session(AGENT, run_id=run_id).history(),
}
FAULTS: dict[str, tuple[dict[str, Any], type[er.ToolhouseError]]] = {
    "503": ({"status": 503}, er.ServerError),
    "400": ({"status": 400}, er.BadRequestError),
    "no answer": ({"cut": "rst"}, er.OutcomeUnknownError),
    "half an answer": ({"cut": "fin", "cut_after": 1}, er.StreamInterruptedError),
    "a page": ({"status": 200, "body": "<html>"}, er.UnexpectedContentError),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS)
async def test_a_read_that_fails_says_nothing_of_a_message(
    read: Callable[[AsyncToolhouse, str], Awaitable[object]], fault: dict[str, Any], kind: type[er.ToolhouseError]
) -> None:
    """The message of the turn beside it has arrived."""
    async with world_and_client() as (world, client):
        result = await client.run(AGENT, "hello")
        world.emulator.faults.add(method="GET", times=None, **fault)
        with pytest.raises(kind) as caught:
            await read(client, str(result.run_id))
        told = failure(caught.value)
        assert told["safe_to_retry"] is True  # the read, which is repeated
        assert "message" not in told["message"]


async def test_neither_does_a_read_that_is_refused() -> None:
    async with AsyncToolhouse(KEY, base_url=f"http://127.0.0.1:{unused_port()}") as client:
        with pytest.raises(er.NotSentError) as caught:
            await client.history(AGENT, "run")
        assert "message" not in failure(caught.value)["message"]


def test_what_a_store_has_failed_at() -> None:
    answer = TurnResult("agent", "run", "words", (), (), "completed", None)
    told = {
        "Nothing was sent": er.StoreError(INSIDE, safe_to_retry=True),
        "could not be saved": er.StoreError(INSIDE, safe_to_retry=False, partial=answer),
        "look again later": er.StoreError(
            INSIDE, safe_to_retry=False, partial=answer, token=JobToken("agent", "run", "job", 0.0)
        ),
        "cannot be reached": er.StoreError(INSIDE),
        "continued elsewhere": er.LeaseLostError(INSIDE),
    }
    for words, error in told.items():
        assert words in failure(error)["message"]


def test_a_worker_that_is_not_there_is_nobodys_lost_conversation() -> None:
    error = er.NotFoundError(INSIDE, status=404)
    assert "on our side" in failure(error)["message"]
    error.run_id = "r1"
    assert "conversation is not there" in failure(error)["message"]


async def test_an_answer_whose_conversation_is_gone_is_not_to_be_looked_for() -> None:
    async with world_and_client() as (world, client):
        for cut in ({"cut_after": 5}, {"accept": True}):
            session = client.session(AGENT)
            await session.send("hello")
            lost = world.emulator.faults.add(method="PUT", cut="fin", **cut)
            world.emulator.faults.add(method="GET", status=404, times=None)
            with pytest.raises(er.TransportError) as caught:
                await session.send("two words")
            if "accept" in cut:  # nobody knows yet whether it arrived
                assert "Please check" in failure(caught.value)["message"]
                with pytest.raises(er.OutcomeUnknownError) as caught:
                    await session.reconcile()
            assert lost.hits
            assert caught.value.has_vanished
            assert isinstance(caught.value.__cause__, er.NotFoundError)
            assert failure(caught.value)["message"] == failure(er.NotFoundError(status=404, run_id="r"))["message"]
            world.emulator.faults.clear()


def shown(event: ev.Event) -> dict[str, object]:
    return json.loads(browser_json(event))


@pytest.mark.parametrize(
    ("code", "kept"), [("rate.limit-1", True), (7, True), (None, True), (INSIDE, False), ("", False), ("x" * 65, False)]
)
def test_the_text_of_a_workers_error_is_left_out(code: str | int | None, kept: bool) -> None:
    told = shown(ev.ErrorEvent(INSIDE, code))
    assert told == {"event": "ErrorEvent", "message": "The worker reported an error.", "code": code if kept else None}


def test_an_error_that_json_cannot_write_tells_nothing_either() -> None:
    line = b'{"type":"error","message":"hunter2","code":100000000000000000000000,"took":NaN}'
    (event,) = EventDecoder().decode([line])
    assert shown(event) == {"event": "ErrorEvent", "message": "The worker reported an error.", "code": None}


def test_a_line_that_is_none_is_told_by_its_number() -> None:
    assert shown(ev.MalformedLine(INSIDE.encode(), 7, INSIDE)) == {"event": "MalformedLine", "number": 7}


def test_a_result_does_not_say_all_again() -> None:
    token = JobToken("agent", "run", "job", 1.0)
    exchange = ToolExchange(ev.ToolCall("1", "look"), None)
    result = TurnResult("agent", "run", "words", (exchange,), (JobRecord("job", 1.5, 2),), "background", token)
    jobs = [{"job_id": "job", "elapsed": 1.5, "polls": 2}]
    outcome = {"status": "background", "jobs": jobs, "recovered": 0, "unknown": 0, "malformed": 0}
    assert shown(ev.TurnCompleted(result)) == {"event": "TurnCompleted", "result": outcome}


def test_all_that_the_worker_said_is_told() -> None:
    assert shown(ev.UnknownEvent("thought", {"a": [1]})) == {
        "event": "UnknownEvent",
        "type": "thought",
        "data": {"a": [1]},
    }
    call = {"event": "ToolCall", "id": "1", "name": "look", "arguments": {"at": "it"}}
    assert shown(ev.ToolCall("1", "look", {"at": "it"}, line=b"as it came")) == call
