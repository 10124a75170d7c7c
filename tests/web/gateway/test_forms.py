"""What the events of a turn become in a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolhouse_async import TurnResult, WorkerError
from toolhouse_async import events as ev
from toolhouse_async.web._openai.chat import ChatForm
from toolhouse_async.web._openai.ids import answer_id, run_id_of
from toolhouse_async.web._openai.requests import Asked
from toolhouse_async.web._openai.responses import ResponseForm

NONCE = "0123456789abcdef"
START = ev.TurnStarted("agent", "run")
JOB = (ev.JobStarted("j"), ev.JobProgress("j", 3.0, 1, 5.0), ev.JobFinished("j", 9.0, 2))
TOOL = (ev.ToolCall("1", "look", {"at": "x"}), ev.ToolResult("1", "look", "seen"))
ODD = (ev.UnknownEvent("thought", {"type": "thought"}), ev.MalformedLine(b"{", 3, "no JSON"), ev.TextDelta(""))


def end(text: str, run_id: str = "run") -> ev.TurnCompleted:
    return ev.TurnCompleted(TurnResult("agent", run_id, text))


def chat_form(**echo: Any) -> ChatForm:
    return ChatForm(Asked("Hello", stream=True, echo=echo), "analyst", NONCE, 1_700_000_000)


def response_form(**fields: Any) -> ResponseForm:
    return ResponseForm(Asked("Hello", stream=True, **fields), "analyst", NONCE, 1_700_000_000)


def data(form: Any, *events: ev.Event, error: Exception | None = None) -> list[Any]:
    """What the events become, as JSON; comments are passed over."""
    stream = form.begin() + b"".join(form.event(each) for each in events)
    stream += b"" if error is None else form.failed(error)
    blocks = [block.splitlines() for block in stream.decode().split("\n\n")[:-1]]
    found = []
    for block in blocks:
        if block[0].startswith("event: "):
            assert json.loads(block[1].removeprefix("data: "))["type"] == block.pop(0).removeprefix("event: ")
        if block != [": working"]:
            (line,) = block
            assert line.startswith("data: ")
            found.append("[DONE]" if line == "data: [DONE]" else json.loads(line.removeprefix("data: ")))
    return found


def chunks(*events: ev.Event, **echo: Any) -> list[Any]:
    made = data(chat_form(**echo), *events)
    assert made.pop() == "[DONE]"
    return made


def delta(chunk: Any) -> Any:
    (choice,) = chunk["choices"]
    return choice["delta"]


def said(made: list[Any]) -> str:
    return "".join(delta(each).get("content", "") for each in made)


def told(*events: ev.Event, error: Exception | None = None, **fields: Any) -> list[Any]:
    """What a response is made of."""
    made = data(response_form(**fields), *events, error=error)
    assert [each["sequence_number"] for each in made] == list(range(len(made)))
    return made


def kinds(events: list[Any]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in events]


def words(response: Any) -> str:
    """The words of a response, as OpenAI's package puts them together."""
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def test_ids_name_their_run_and_no_other() -> None:
    one = answer_id("resp_", NONCE, "resp_0123456789abcdef_x")
    assert run_id_of(one) == "resp_0123456789abcdef_x"
    assert run_id_of(answer_id("resp_", NONCE, None)) is None
    assert run_id_of("a-run") == "a-run"


def test_words_become_chunks() -> None:
    made = chunks(START, ev.TextDelta("Good "), *TOOL, ev.TextDelta("morning"), end("Good morning"))
    assert [delta(each) for each in made] == [
        {"role": "assistant", "content": ""},
        {"content": "Good "},
        {"content": "morning"},
        {},
    ]
    assert [each["choices"][0]["finish_reason"] for each in made] == [None, None, None, "stop"]
    assert {each["id"] for each in made} == {f"chatcmpl-{NONCE}_run"}
    assert {(each["model"], each["created"]) for each in made} == {("analyst", 1_700_000_000)}


def test_usage_is_told_to_be_unknown_where_it_is_asked_for() -> None:
    raw = data(chat_form(usage=None), START, ev.TextDelta("x"), end("x"))[:-1]
    assert [each["usage"] for each in raw] == [None] * 3
    assert "usage" not in data(chat_form(), START)[0]


@pytest.mark.parametrize("form", [chat_form, response_form])
def test_what_has_no_words_is_a_comment(form: Any) -> None:
    for each in (*JOB, *TOOL, *ODD, ev.ErrorEvent("hunter2"), ev.TurnResumed("run", 1), ev.StreamRecovered("a", "a")):
        assert form().event(each) == form().heartbeat == b": working\n\n"


def test_a_chat_says_again_what_was_cut_and_stands_otherwise() -> None:
    cut = (START, ev.TextDelta("One."), *JOB, ev.TurnResumed("run", 1), ev.TextDelta("Two"))
    whole = chunks(*cut, ev.StreamRecovered("Two and three", " and three"), ev.TextDelta(" and three"), end("…"))
    assert said(whole) == "One.Two and three"
    other = chunks(*cut, ev.StreamRecovered("Other", ""), ev.TextDelta("!"), end("…"))
    assert said(other) == "One.Two\n\nOther!"


def test_a_failed_chat_ends_with_an_error_and_is_not_done() -> None:
    form = chat_form()
    error = WorkerError("hunter2", safe_to_retry=False, run_id="run")
    *_, last = data(form, START, ev.TextDelta("half"), error=error)
    assert last["error"]["code"] == "worker"
    assert "hunter2" not in str(last)
    assert form.error is error


def test_a_chat_completion_is_one() -> None:
    made = chat_form().whole(TurnResult("agent", "run", "Good morning"))
    assert made["choices"][0]["message"]["content"] == "Good morning"
    assert made["usage"] is None


def test_words_become_events_of_one_message() -> None:
    said = (ev.TextDelta("One."), *JOB, ev.TurnResumed("run", 1), ev.TextDelta("Two."))
    events = told(START, *said, end("One.Two."))
    assert kinds(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert {each["response"]["id"] for each in events if "response" in each} == {f"resp_{NONCE}_run"}
    done = events[-1]["response"]
    assert (done["status"], words(done), done["usage"]) == ("completed", "One.Two.", None)
    assert done["output"] == [events[-2]["item"]]


def test_an_answer_without_words_is_an_empty_message() -> None:
    events = told(START, end(""))
    assert kinds(events)[2:4] == ["output_item.added", "content_part.added"]
    response = events[-1]["response"]
    assert (len(response["output"]), words(response)) == (1, "")


def test_a_response_has_the_run_that_a_resume_gave_it() -> None:
    assert told(START, ev.TextDelta("x"), end("x", "run-2"))[-1]["response"]["id"] == f"resp_{NONCE}_run-2"


def test_an_answer_that_was_cut_and_stands_otherwise_is_a_further_message() -> None:
    cut = (START, ev.TextDelta("One."), *JOB, ev.TurnResumed("run", 1), ev.TextDelta("Two"))
    events = told(*cut, ev.StreamRecovered("Other", ""), ev.TextDelta("!"), end("One.Other!"))
    items = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    assert [(each["status"], each["content"][0]["text"]) for each in items] == [
        ("incomplete", "One.Two"),
        ("completed", "One.Other!"),
    ]
    assert words(events[-1]["response"]) == "One.Other!"
    assert [each["output_index"] for each in events if "delta" in each] == [0, 0, 1, 1]
    whole = told(*cut, ev.StreamRecovered("Two and three", " and three"), ev.TextDelta(" and three"), end("…"))
    assert words(whole[-1]["response"]) == "One.Two and three"


def test_a_failed_response_says_so_twice() -> None:
    """As its last state for those who follow it, and as what OpenAI's package raises."""
    failed = WorkerError("hunter2", safe_to_retry=False, run_id="run")
    events = told(START, ev.TextDelta("half"), error=failed)
    assert kinds(events)[-2:] == ["failed", "error"]
    response = events[-2]["response"]
    assert (response["status"], words(response), response["output"][0]["status"]) == ("failed", "half", "incomplete")
    assert (response["error"]["code"], events[-1]["code"]) == ("server_error", "worker")
    assert events[-1]["error"]["run_id"] == "run"
    assert told(START, error=failed)[-2]["response"]["output"] == []
    assert kinds(told(error=failed)) == ["error"]
    assert "hunter2" not in str(events)


def test_a_response_is_one_and_repeats_what_was_asked() -> None:
    echo = {"instructions": "Be brief.", "metadata": {"a": "b"}, "conversation": {"id": "c"}}
    made = response_form(echo=echo).whole(TurnResult("agent", "run", "Good morning"))
    assert (words(made), made["status"], made["id"]) == ("Good morning", "completed", f"resp_{NONCE}_run")
    assert {name: made[name] for name in echo} == echo
    assert (made["usage"], made["tools"]) == (None, [])


def test_half_a_character_can_be_written() -> None:
    for form in (chat_form(), response_form()):
        assert b"\\ud83d" in form.event(ev.TextDelta("\ud83d"))
