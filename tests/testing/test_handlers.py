from __future__ import annotations

import asyncio
import io
import json
import uuid

import pytest

from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .conftest import Client


@pytest.fixture(autouse=True)
def _workers(emulator: WorkersEmulator) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text(f"{ctx.message}, ")
        call = ctx.tool_call("search", {"q": [1]})
        yield call
        yield ctx.tool_result(call, "found", is_error=True)
        yield ctx.text("done")


async def test_text_endpoints_give_only_the_words(client: Client) -> None:
    first = await client.start("one")
    assert (first.status, first.text) == (200, "one, done")
    assert first.headers["Content-Type"].startswith("text/plain")
    assert str(uuid.UUID(first.run_id)) == first.run_id
    second = await client.go_on(first.run_id, "two")
    assert (second.text, second.run_id) == ("two, done", first.run_id)


async def test_ndjson_endpoints_give_tool_calls_too(client: Client) -> None:
    first = await client.ask("POST", "/ndjson/a", json={"message": "one"})
    lines = [json.loads(line) for line in first.body.splitlines()]
    call_id = lines[1]["id"]
    assert lines == [
        {"type": "text", "text": "one, "},
        {"type": "tool_call", "id": call_id, "name": "search", "arguments": {"q": [1]}},
        {"type": "tool_result", "tool_call_id": call_id, "name": "search", "content": "found", "is_error": True},
        {"type": "text", "text": "done"},
    ]
    assert first.headers["Content-Type"] == "application/x-ndjson"
    second = await client.ask("PUT", f"/ndjson/a/{first.run_id}", json={"message": "two"})
    assert second.body.splitlines()[0] == b'{"type":"text","text":"two, "}'


async def test_one_chunk_an_event(client: Client) -> None:
    async with client.stream("POST", "/ndjson/a", json={"message": "one"}) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        chunks, piece = [], b""
        async for data, ends in response.content.iter_chunks():
            piece += data
            if ends:
                chunks.append(piece)
                piece = b""
    assert [json.loads(chunk)["type"] for chunk in chunks] == ["text", "tool_call", "tool_result", "text"]


async def test_history_by_get_and_head(client: Client) -> None:
    first = await client.start("one")
    await client.go_on(first.run_id, "two")
    read = await client.read(first.run_id)
    assert json.loads(read.body) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "one, done"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "two, done"},
    ]
    assert read.headers["Content-Type"] == "application/json"
    head = await client.ask("HEAD", f"/a/{first.run_id}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(read.body))


async def test_context_tells_the_request(emulator: WorkersEmulator, client: Client) -> None:
    seen = []

    @emulator.worker("spy")
    async def spy(ctx):
        seen.append(ctx)
        yield ctx.text("ok")

    body = {"message": "m", "vars": {"x": 1}, "toolhouse_id": "t", "bundle": "b", "other": 2}
    run_id = (await client.ask("POST", "/spy", json=body)).run_id
    empty = await client.ask("POST", "/spy")
    assert empty.status == 200
    await client.ask("PUT", f"/spy/{run_id}", json={"message": "again"})
    first, second, third = seen
    assert (first.agent_id, first.run_id, first.message) == ("spy", run_id, "m")
    assert (first.vars, first.toolhouse_id, first.bundle, first.body["other"]) == ({"x": 1}, "t", "b", 2)
    assert first.history == [{"role": "user", "content": "m"}]
    assert (first.job_result, first.job_failed) == (None, False)
    assert (second.message, second.vars, second.toolhouse_id, second.bundle) == (None, {}, None, None)
    assert second.history == []
    assert [entry["content"] for entry in third.history] == ["m", "ok", "again"]
    third.history[0]["content"] = "changed"
    assert (await client.history(run_id, "spy"))[0]["content"] == "m"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/nobody", 404),
        ("POST", "/ndjson/nobody", 404),
        ("POST", "/", 404),
        ("POST", "/a/", 404),
        ("POST", "/a/b", 404),
        ("POST", "/ndjson/a/b", 404),
        ("POST", "/ndjson", 404),
        ("POST", "/" + "a" * 129, 404),
        ("POST", "/a.b", 404),
        ("POST", "/%2e%2e", 404),
        ("PUT", "/a", 404),
        ("PUT", "/a/nothing", 404),
        ("PUT", "/ndjson/a", 404),
        ("PUT", "/ndjson/a/nothing", 404),
        ("GET", "/a", 404),
        ("GET", "/a/nothing", 404),
        ("GET", "/ndjson/a/nothing", 404),
        ("HEAD", "/a/nothing", 404),
        ("DELETE", "/a/nothing", 405),
        ("PATCH", "/a", 405),
    ],
)
async def test_what_is_not_there(client: Client, method: str, path: str, status: int) -> None:
    answer = await client.ask(method, path, json={"message": "x"})
    assert answer.status == status
    assert "X-Toolhouse-Run-ID" not in answer.headers
    if method != "HEAD":
        assert json.loads(answer.body)["error"]
    if status == 405:
        assert answer.headers["Allow"] == "GET, HEAD, POST, PUT"
    assert client.server.accepted == []


async def test_run_of_another_worker_is_unknown(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("b")(echo)
    run_id = (await client.start("x")).run_id
    assert (await client.read(run_id, "b")).status == 404
    assert (await client.go_on(run_id, "x", "b")).status == 404


async def test_a_worker_may_be_called_ndjson(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("ndjson")(echo)
    first = await client.ask("POST", "/ndjson", json={"message": "x"})
    assert first.text == "x"
    assert (await client.ask("PUT", f"/ndjson/{first.run_id}", json={"message": "y"})).text == "y"
    assert len(await client.history(first.run_id, "ndjson")) == 4
    lines = await client.ask("PUT", f"/ndjson/ndjson/{first.run_id}", json={"message": "z"})
    assert lines.body == b'{"type":"text","text":"z"}\n'


async def test_query_is_no_part_of_the_path(client: Client) -> None:
    assert (await client.ask("POST", "/a?b=/c", json={"message": "x"})).status == 200
    assert client.server.requests[-1].path == "/a?b=/c"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b'{"message": 1}', 422),
        (b'{"message": null}', 422),
        (b'{"message": "x", "vars": []}', 422),
        (b'{"message": "x", "bundle": {}}', 422),
        (b'{"message": "x", "toolhouse_id": 5}', 422),
    ],
)
async def test_bad_bodies(client: Client, body: bytes, status: int) -> None:
    run_id = (await client.start("x")).run_id
    assert (await client.ask("POST", "/a", data=body)).status == status
    assert (await client.ask("PUT", f"/a/{run_id}", data=body)).status == status
    assert len(client.server.accepted) == 1


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_put_needs_a_message_and_post_does_not(client: Client, body: bytes) -> None:
    first = await client.ask("POST", "/a", data=body)
    assert first.text == "None, done"
    assert (await client.ask("PUT", f"/a/{first.run_id}", data=body)).status == 422


async def test_malformed_framing_is_no_message(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(client.server.url.rsplit(":", 1)[1]))
    writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert (await reader.read()).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()
    assert client.server.accepted == []


async def test_big_messages_are_fine(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("echo")(echo)
    message = "x" * 3_000_000
    body = io.BytesIO(json.dumps({"message": message}).encode())
    async with client.stream("POST", "/echo", data=body, expect100=True) as response:
        assert await response.text() == message


async def test_key_is_asked_for(emulator: WorkersEmulator, client: Client) -> None:
    emulator.api_key = "sesame"
    emulator.worker("open", public=True)(echo)
    assert "sesame" not in repr(emulator)
    good = {"Authorization": "Bearer sesame"}
    for bad in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic sesame"}):
        answer = await client.ask("POST", "/a", json={"message": "x"}, headers=bad)
        assert answer.status == 401
        assert (await client.ask("POST", "/nobody", headers=bad)).status == 401
    run_id = (await client.ask("POST", "/a", json={"message": "x"}, headers=good)).run_id
    assert (await client.read(run_id)).status == 401
    assert (await client.go_on(run_id)).status == 401
    assert (await client.ask("GET", f"/a/{run_id}", headers=good)).status == 200
    assert (await client.start("x", "open")).text == "x"


async def test_requests_are_recorded(client: Client) -> None:
    answer = await client.ask("POST", "/a", json={"message": "x"}, headers={"X-Mine": "1"})
    await client.read(answer.run_id)
    await client.start(agent="nobody")
    first, second, third = client.server.requests
    assert (first.method, first.path, first.status, first.accepted) == ("POST", "/a", 200, True)
    assert first.headers["x-mIne"] == "1"
    assert (first.body, first.json()) == (b'{"message": "x"}', {"message": "x"})
    assert (second.method, second.status, second.accepted) == ("GET", 200, False)
    assert (third.status, third.accepted) == (404, False)
    assert client.server.accepted == [first]
    with pytest.raises(ValueError, match=r"."):
        second.json()


async def test_keep_alive(client: Client) -> None:
    for _ in range(5):
        await client.start("x")
    assert client.server.connections == 1


async def test_many_conversations_at_once(emulator: WorkersEmulator, client: Client) -> None:
    gate = asyncio.Event()
    waiting = 0

    @emulator.worker("gate")
    async def wait(ctx):
        nonlocal waiting
        yield ctx.text(f"{ctx.message}:")
        waiting += 1
        if waiting == 80:
            gate.set()
        await gate.wait()
        yield ctx.text(ctx.run_id)

    answers = await asyncio.gather(*(client.start(str(number), "gate") for number in range(80)))
    assert [answer.text for answer in answers] == [f"{n}:{answer.run_id}" for n, answer in enumerate(answers)]
