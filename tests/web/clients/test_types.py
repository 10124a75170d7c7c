"""All that is sent has the types that OpenAI's package has for it."""

from __future__ import annotations

from typing import Any

from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.shared import ErrorObject
from pydantic import TypeAdapter

from tests.web.gateway.support import MODEL, ask, chat, gateway, response
from tests.web.gateway.test_forms import JOB, ODD, START, TOOL, chunks, end, told
from toolhouse_async import WorkerError
from toolhouse_async import events as ev

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SAID = (START, ev.TextDelta("One."), *TOOL, *ODD, *JOB, ev.TurnResumed("run", 1), ev.TextDelta("Two"))
OTHERWISE = (*SAID, ev.StreamRecovered("Other", ""), end("One.Other"))


def test_chunks() -> None:
    for echo in ({}, {"usage": None}):
        made = [ChatCompletionChunk.model_validate(each) for each in chunks(*OTHERWISE, **echo)]
        assert made[-1].choices[0].finish_reason == "stop"
        assert not any(each.choices[0].delta.tool_calls for each in made)


def test_events() -> None:
    failed = WorkerError("x", safe_to_retry=False)
    for made in (told(*OTHERWISE), told(START, end("")), told(*SAID, error=failed), told(error=failed)):
        checked = [EVENT.validate_python(each) for each in made]
        assert [type(each).__name__ for each in checked[:1]] in (["ResponseCreatedEvent"], ["ResponseErrorEvent"])
    assert EVENT.validate_python(told(*OTHERWISE)[-1]).response.output_text == "One.Other"


async def test_objects() -> None:
    async with gateway() as (_, _, app):
        asked = response("x", instructions="y", metadata={"a": "b"})
        Response.model_validate((await ask(app, "/v1/responses", asked)).json)
        ChatCompletion.model_validate((await ask(app, "/v1/chat/completions", chat("x"))).json)
        Model.model_validate((await ask(app, f"/v1/models/{MODEL}")).json)
        for wrong in (chat(), chat("fail"), {}):
            ErrorObject.model_validate((await ask(app, "/v1/chat/completions", wrong)).error)
