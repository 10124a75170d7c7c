from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.support.answers import KEY
from tests.web.support import AGENT, no_connections, world_and_client
from toolhouse_async import RetryPolicy, SessionManager
from toolhouse_async.web import openai_gateway
from toolhouse_async.web._openai.asgi import MAX_BODY

from .support import JSON, MODEL, Answer, ask, chat, gateway, response

CHAT, RESPONSES, MODELS = "/v1/chat/completions", "/v1/responses", "/v1/models"
both = pytest.mark.parametrize(("path", "body"), [(CHAT, chat), (RESPONSES, response)], ids=["chat", "responses"])


async def test_the_models_are_listed() -> None:
    async with world_and_client() as (_, client):
        app = openai_gateway(client, models={"a": AGENT, "b/c": f"https://agents.toolhouse.ai/{AGENT}"})
        listed = (await ask(app, MODELS)).json
        assert [each["id"] for each in listed["data"]] == ["a", "b/c"]
        for name in ("a", "b/c"):
            one = (await ask(app, f"{MODELS}/{name}")).json
            assert (one["id"], one["object"], one["owned_by"]) == (name, "model", "toolhouse")
        head = await ask(app, MODELS, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert (await ask(app, f"{MODELS}/d")).error["code"] == "model_not_found"


@both
async def test_a_new_run_for_each_question(path: str, body: Any) -> None:
    async with gateway() as (world, _, app):
        for _ in range(2):
            answer = await ask(app, path, body("Hello"))
            assert answer.status == 200
            assert b"Hello" in answer.body
            assert answer.headers["cache-control"] == "no-store"
        assert [each.path for each in world.server.accepted] == [f"/ndjson/{AGENT}"] * 2


@both
async def test_a_streamed_answer_comes_as_it_is_said(path: str, body: Any) -> None:
    async with gateway() as (world, _, app):
        answer = Answer(app, path, body("wait", stream=True))
        await answer.until(b"first ")
        assert answer.words == "first "
        world.go_on.set()
        await answer.task
        assert answer.words == "first second"
        assert answer.status == 200


async def test_a_response_goes_on_with_the_one_before() -> None:
    async with gateway() as (world, _, app):
        first = (await ask(app, RESPONSES, response("one"))).json
        answer = await ask(app, RESPONSES, response("two", previous_response_id=first["id"], stream=True))
        assert answer.words == "two"
        third = await ask(app, RESPONSES, response("three", previous_response_id=answer.data[-1]["response"]["id"]))
        assert third.status == 200
        assert world.accepted == ["one", "two", "three"]
        put = world.server.accepted[1].path
        assert [each.path for each in world.server.accepted] == [f"/ndjson/{AGENT}", put, put]


async def test_a_response_that_is_gone() -> None:
    async with gateway() as (world, _, app):
        for stream in (False, True):
            answer = await ask(app, RESPONSES, response("x", previous_response_id="run-of-nobody", stream=stream))
            assert (answer.status, answer.error["code"]) == (400, "previous_response_not_found")
        assert world.accepted == []


async def test_a_manager_keeps_the_conversations_of_a_chat() -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        app = openai_gateway(client, models={MODEL: AGENT}, manager=manager)
        said: list[Any] = []
        for word in ("one", "two"):
            said.append(word)
            answer = await ask(app, CHAT, chat(*said, user="ada"))
            said.append(answer.json["choices"][0]["message"])
        header = ("x-conversation-id", "ada")
        assert (await ask(app, CHAT, chat(*said, "three", stream=True, user="bob"), headers=[header])).words == "three"
        assert (await ask(app, RESPONSES, response("four", conversation="ada"))).json["conversation"] == {"id": "ada"}
        assert world.accepted == ["one", "two", "three", "four"]
        assert [each.method for each in world.server.accepted] == ["POST", "PUT", "PUT", "PUT"]


async def test_a_conversation_that_is_gone() -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        app = openai_gateway(client, models={MODEL: AGENT}, manager=manager)
        await ask(app, CHAT, chat("one", user="ada"))
        world.emulator.faults.add(method="PUT", status=404)
        answer = await ask(app, CHAT, chat("two", user="ada"))
        assert (answer.status, answer.error["code"]) == (404, "conversation_not_found")


@both
async def test_a_job_is_waited_for_and_the_connection_is_never_silent(path: str, body: Any) -> None:
    async with gateway() as (world, _, app):
        loop = asyncio.get_running_loop()
        loop.call_later(300, world.go_on.set)
        answer = Answer(app, path, body("job", stream=True))
        last, longest = loop.time(), 0.0
        while not answer.task.done():
            news = asyncio.ensure_future(answer.news.wait())
            await asyncio.wait({answer.task, news}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            answer.news.clear()
            last, longest = loop.time(), max(longest, loop.time() - last)
        assert answer.words == "Computing. The job says 42."
        assert longest <= 15.1
        whole = await ask(app, path, body("job"))
        assert b"Computing. The job says 42." in whole.body
        assert b"code_interpreter" not in answer.body + whole.body


@both
async def test_a_worker_that_says_nothing_for_long_is_waited_for_in_the_stream(path: str, body: Any) -> None:
    async with world_and_client() as (world, client):

        @world.emulator.worker("slow")
        async def slow(ctx: Any) -> Any:
            await asyncio.sleep(40)
            yield ctx.text("Hello")

        app = openai_gateway(client, models={MODEL: "slow"})
        answer = Answer(app, path, body("Hello", stream=True))
        await answer.until(b": working\n\n: working")
        assert answer.status == 200
        await answer.task
        assert answer.words == "Hello"


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_answer_has_a_status(path: str, body: Any, stream: bool) -> None:
    async with gateway(retries=RetryPolicy(max_attempts=1)) as (world, _, app):
        world.emulator.faults.add(status=429, retry_after=7)
        answer = await ask(app, path, body("Hello", stream=stream))
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert (answer.headers["x-should-retry"], answer.error["code"]) == ("true", "rate_limit_exceeded")
        world.emulator.faults.add(status=502)
        answer = await ask(app, path, body("Hello", stream=stream))
        assert (answer.status, answer.headers["x-should-retry"], answer.error["code"]) == (424, "false", "server")
        assert world.accepted == []


@both
async def test_a_failure_of_the_worker(path: str, body: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway() as (_, _, app):
        with caplog.at_level(logging.WARNING, "toolhouse_async"):
            whole = await ask(app, path, body("fail"))
            streamed = await ask(app, path, body("fail", stream=True))
        assert (whole.status, whole.error["code"]) == (424, "worker")
        assert whole.error["run_id"]
        assert streamed.status == 200
        assert streamed.words == "half "
        assert streamed.data[-1]["error"]["code"] == "worker"
        assert "[DONE]" not in streamed.data
        for secret in (b"hunter2", KEY.encode()):
            assert secret not in whole.body + streamed.body
        ours = [each.getMessage() for each in caplog.records if each.name == "toolhouse_async"]
        assert len(ours) == 2
        assert KEY not in str(ours)


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_its_turn(path: str, body: Any, stream: bool) -> None:
    async with gateway() as (world, _, app):
        answer = Answer(app, path, body("wait", stream=stream))
        answer.received.append({"type": "http.request", "body": b""})  # as some servers say that there is no more
        while not world.accepted:
            await asyncio.sleep(0.01)
        await answer.leave()
        await no_connections(world)
        assert answer.status in ((200, 499) if stream else (499,))
        if stream:
            deaf = Answer(app, path, body("wait", stream=True))
            await deaf.until(b"first ")
            deaf.is_deaf = True
            await deaf.task
            await no_connections(world)


async def test_a_client_that_leaves_before_its_request_is_whole() -> None:
    async with gateway() as (world, _, app):
        answer = Answer(app, CHAT, chat("Hello"))
        answer.received[1] = {"type": "http.disconnect"}
        await answer.task
        assert (answer.status, world.accepted) == (499, [])


@both
async def test_cancelled_it_ends_the_turn(path: str, body: Any) -> None:
    async with gateway() as (world, _, app):
        for stream in (False, True):
            answer = Answer(app, path, body("wait", stream=stream))
            while len(world.accepted) < 1 + stream:
                await asyncio.sleep(0.01)
            answer.task.cancel()
            await asyncio.wait({answer.task})
            assert answer.task.cancelled()
            await no_connections(world)
            gc.collect()


async def test_cancelled_at_any_pass_it_leaves_nothing_behind() -> None:
    async with gateway() as (world, _, app):
        for stream in (False, True):
            for passes in range(12):
                answer = Answer(app, CHAT, chat("Hello", stream=stream))
                for _ in range(passes):
                    await asyncio.sleep(0)
                answer.task.cancel()
                await asyncio.wait({answer.task})
                assert answer.task.cancelled()
        await no_connections(world)
        gc.collect()


async def test_a_repetition_is_refused_but_behind_a_refusal() -> None:
    async with gateway(retries=RetryPolicy(max_attempts=1)) as (world, _, app):
        again = {"headers": [("x-stainless-retry-count", "1")]}
        refused = await ask(app, CHAT, chat("Hello"), **again)
        assert (refused.status, refused.headers["x-should-retry"]) == (424, "false")
        assert refused.error["code"] == "outcome_unknown"
        world.emulator.faults.add(status=429)
        assert (await ask(app, CHAT, chat("Hello"))).status == 429
        assert (await ask(app, CHAT, chat("Other"), **again)).status == 424
        assert (await ask(app, CHAT, chat("Hello"), **again)).status == 200
        assert (await ask(app, CHAT, chat("Hello"), **again)).status == 424
        assert world.accepted == ["Hello"]


async def test_the_key_is_asked_for() -> None:
    async with world_and_client() as (_, client):
        app = openai_gateway(client, models={MODEL: AGENT}, api_key="a-käy")
        assert "käy" not in repr(vars(app)) + repr(app)
        given = ["", "Bearer", "Bearer ", "Bearer a", "Basic a-käy", "a-käy"]
        for value in given:
            for path in (MODELS, CHAT, "/nothing"):
                answer = await ask(app, path, headers=[("authorization", value)] if value else [])
                assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
                assert answer.headers["www-authenticate"] == "Bearer"
        for value in ("Bearer a-käy", "bearer  a-käy"):
            assert (await ask(app, MODELS, headers=[("authorization", value)])).status == 200


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("/", {}, 404),
        ("/v1", {}, 404),
        ("/v1/embeddings", {"method": "POST"}, 404),
        ("/v1/responses/resp_1", {}, 404),
        (CHAT, {"method": "GET"}, 405),
        (RESPONSES, {"method": "HEAD"}, 405),
        (MODELS, {"method": "POST"}, 405),
        (f"{MODELS}/{MODEL}", {"method": "DELETE"}, 405),
    ],
)
async def test_what_is_not_there(path: str, scope: Any, status: int) -> None:
    async with gateway() as (_, _, app):
        answer = await ask(app, path, **scope)
        assert answer.status == status
        assert ("allow" in answer.headers) == (status == 405)
        assert scope.get("method") == "HEAD" or answer.error["type"] == "invalid_request_error"


@both
@pytest.mark.parametrize(
    ("raw", "headers", "status"),
    [
        (b"{", [], 400),
        (b"{}", [], 400),
        (b"{}", [("content-length", str(MAX_BODY + 1))], 413),
        (b" " * (MAX_BODY + 1), [], 413),
        (b"{}", [("content-length", "9" * 5000)], 400),
    ],
)
async def test_bodies_are_checked(path: str, body: Any, raw: bytes, headers: Any, status: int) -> None:
    async with gateway() as (world, _, app):
        answer = await ask(app, path, raw, headers=headers)
        assert answer.status == status
        assert answer.headers["x-should-retry"] == "false"
        assert world.accepted == []


@both
async def test_other_types_and_models_are_refused(path: str, body: Any) -> None:
    async with gateway() as (world, _, app):
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = Answer(app, path, body("Hello"))
            answer.scope["headers"] = [(b"Content-Type", kind.encode())] if kind else []
            await answer.task
            assert answer.status == 415
        answer = await ask(app, path, {**body("Hello"), "model": "gpt-5"})
        assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
        answer = Answer(app, path, body("Hello"))
        answer.scope["headers"] = [(b"Content-Type", b"Application/JSON; charset=utf-8")]
        await answer.task
        assert answer.status == 200
        assert world.accepted == ["Hello"]


@pytest.mark.parametrize("prefix", ["/openai", "/openai/v1"])
async def test_mounted(prefix: str) -> None:
    async with gateway() as (_, _, app):
        outer = Starlette(routes=[Mount(prefix, app)])
        base = "/openai/v1"
        assert (await ask(outer, f"{base}/models", query_string=b"")).status == 200
        answer = await ask(outer, f"{base}/chat/completions", chat("Hello", stream=True), query_string=b"")
        assert answer.words == "Hello"


@pytest.mark.parametrize(
    ("path", "root"),
    [("/v1/models", ""), ("/models", ""), ("/a/v1/models", "/a"), ("/a/models", "/a/"), ("/v1/models", "/a")],
)
async def test_below_any_path(path: str, root: str) -> None:
    async with gateway() as (_, _, app):
        assert (await ask(app, path, root_path=root)).status == 200


async def test_the_lifespan_is_answered() -> None:
    async with gateway() as (_, _, app):
        received = ["lifespan.startup", "lifespan.shutdown"]
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": received.pop(0)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        received.append("websocket.connect")
        await app({"type": "websocket"}, receive, send)
        assert sent[2:] == ["websocket.close"]


@both
async def test_a_closed_client_sends_nothing(path: str, body: Any) -> None:
    async with gateway() as (world, client, app):
        await client.aclose()
        answer = await ask(app, path, body("Hello"))
        assert (answer.status, answer.error["code"]) == (500, "closed")
        assert world.accepted == []


class Broken(SessionManager):
    """A manager with a defect."""

    def stream(self, *_: Any, **__: Any) -> Any:
        async def events() -> Any:
            raise ZeroDivisionError("hunter2")
            yield

        class Defective:
            __aiter__ = staticmethod(events)
            result = staticmethod(lambda: anext(events()))

        return Defective()


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_defect_is_told_to_the_server(path: str, body: Any, stream: bool) -> None:
    async with world_and_client() as (_, client):
        app = openai_gateway(client, models={MODEL: AGENT}, manager=Broken(client, AGENT))
        answer = Answer(app, path, body("Hello", stream=stream), headers=[JSON, ("x-conversation-id", "ada")])
        await asyncio.wait({answer.task})
        assert (answer.status, answer.error["code"]) == (424, "internal")
        assert b"hunter2" not in answer.body
        with pytest.raises(ZeroDivisionError):
            answer.task.result()
