"""What a worker, a proxy or a caller writes is data: no terminal obeys it, no line of a log is forged by it."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import traceback
import unicodedata
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.support import environment
from tests.support.answers import JOB, KEY, ONCE, RUN, client_of, history
from tests.support.raw_server import RawServer, ndjson, response
from toolhouse_async import (
    APIStatusError,
    AsyncToolhouse,
    ConfigurationError,
    JobToken,
    PollingPolicy,
    ToolhouseError,
    TurnResult,
    WorkerError,
    events,
)

ATTACK = "\x1b]0;owned\x07\x1b[2J\nCRITICAL:root:forged\r\x9b31m\x08\x7f\u202etxt.exe\u2028\u2066"
"""A title for the window, a cleared screen, a forged line of a log, text that runs backwards."""
OBEYED = frozenset("\x1b\x07\n\r\x9b\x08\x7f\u202e\u2028\u2066")

BODIES = {
    "401": response(401, body=ATTACK.encode(), chunked=False),
    "500": response(500, body=ATTACK.encode(), chunked=False),
    "worker": response(headers={RUN: "r1"}, body=ndjson({"type": "error", "message": ATTACK, "code": ATTACK})),
    "worker's object": response(headers={RUN: "r1"}, body=ndjson({"type": "error", "error": {ATTACK: ATTACK}})),
    "run id": b"HTTP/1.1 200 OK\r\nX-Toolhouse-Run-ID: \x1b[2J\x07\r\nContent-Length: 0\r\n\r\n",
    "run id not UTF-8": b"HTTP/1.1 200 OK\r\nX-Toolhouse-Run-ID: \xff\xfe\x9b\r\nContent-Length: 0\r\n\r\n",
    "encoding": b"HTTP/1.1 200 OK\r\nX-Toolhouse-Run-ID: r1\r\nContent-Encoding: \x9b2J\r\nContent-Length: 0\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: \x1b[2J\r\n\r\n",
    "status line": b"HTTP/1.1 \x1b[2J\x07 OK\r\n\r\n",
    "banner": b"\x1b[2J\x1b]0;owned\x07\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\x07\r\n",
}


def is_harmless(text: str) -> bool:
    """Whether no character of it is obeyed by a terminal or ends a line."""
    return not any(each in OBEYED or unicodedata.category(each) in ("Cc", "Cs", "Cf") for each in text)


@pytest.mark.parametrize("name", BODIES)
async def test_control_characters_of_an_answer_are_not_in_the_message_of_an_error(name: str) -> None:
    async with RawServer([BODIES[name]] * 2) as server, client_of(server, retries=ONCE) as toolhouse:
        for step in (toolhouse.run("a", "x"), toolhouse.history("a", "r1")):
            with pytest.raises(ToolhouseError) as caught:
                await step
            error = caught.value
            assert is_harmless(str(error)), ascii(str(error))
            assert is_harmless(repr(error)), ascii(repr(error))
            last = traceback.format_exception_only(error)
            assert is_harmless("".join(last).removesuffix("\n"))
            if isinstance(error, APIStatusError):
                assert error.body == ATTACK  # as received, for who asks for it


async def test_control_characters_of_a_proxy_are_not_in_the_message() -> None:
    refusal = b"HTTP/1.1 407 \x1b[2J\x07\r\nContent-Length: 0\r\n\r\n"
    async with (
        RawServer([refusal]) as proxy,
        AsyncToolhouse(KEY, base_url="https://agents.invalid", proxy=proxy.url, retries=ONCE) as toolhouse,
    ):
        with pytest.raises(ToolhouseError) as caught:
            await toolhouse.run("a", "x")
    assert is_harmless(str(caught.value)), ascii(str(caught.value))


async def test_control_characters_of_an_answer_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Retries, failed polls, lines that are not JSON, a history that is refused: all that the library logs of."""
    caplog.set_level(0)
    refused = {
        status: response(status, {"X-Said": "\x9b2J"}, ATTACK.encode(), chunked=False) for status in (404, 429, 503)
    }
    garbage = response(headers={RUN: "r1", JOB: "\x9b2J"}, body=ATTACK.encode() + b"\n" + ndjson({ATTACK: ATTACK}))
    no_history = response(body=ATTACK.encode())
    answers = [
        refused[429],
        garbage,
        refused[503],
        no_history,
        history(),
        refused[429],
        response(headers={RUN: "r1"}),
        refused[404],
    ]
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        assert (await toolhouse.run("a", "x")).malformed == 2
        assert len(server.requests) == len(answers)
    assert len(caplog.records) >= 5
    for record in caplog.records:
        line = logging.Formatter().format(record)
        assert is_harmless(line), ascii(line)


@pytest.mark.parametrize("kind", [getattr(events, name) for name in events.__all__ if name != "Event"])
def test_control_characters_of_a_worker_are_in_no_repr(kind: Any) -> None:
    values = {
        field.name: 1 if field.name in ("elapsed", "polls", "next_poll", "number", "round") else ATTACK
        for field in attrs.fields(kind)
    }
    if "line" in values:
        values["line"] = ATTACK.encode()
    if "result" in values:
        values["result"] = TurnResult(ATTACK, ATTACK, text=ATTACK)
    for data in (ATTACK, {ATTACK: [ATTACK]}, [{ATTACK: ATTACK}]):
        for name in {"arguments", "content", "data"} & values.keys():
            values[name] = data
        assert is_harmless(repr(kind(**values)))


async def test_control_characters_of_a_job_id_are_replaced() -> None:
    """It is printable wherever it goes: events, tokens, errors, URLs of dashboards."""
    running = history(headers={JOB: "\x9b2Jj\x85"})
    answers = [b"HTTP/1.1 200 OK\r\nX-Toolhouse-Run-ID: r1\r\nX-Toolhouse-Job-ID: \x9b2Jj\r\nContent-Length: 0\r\n\r\n"]
    async with RawServer([*answers, running]) as server, client_of(server) as toolhouse:
        result = await toolhouse.run("a", "x", background="detach")
        assert result.token is not None
        assert result.token.job_id.isprintable()
        assert is_harmless(repr(result))
        assert JobToken.from_json(result.token.to_json()) == result.token
        status = await toolhouse.job_status("a", "r1")
        assert status.job_id is not None
        assert status.job_id.isprintable()


@pytest.mark.parametrize(
    "call",
    [
        lambda toolhouse: toolhouse.session(ATTACK),
        lambda toolhouse: toolhouse.session(f"https://{ATTACK}/a"),
        lambda toolhouse: toolhouse.session(f"https://agents.toolhouse.ai/{ATTACK}"),
        lambda toolhouse: toolhouse.session("a", run_id=ATTACK),
        lambda toolhouse: toolhouse.session("a", bundle=[ATTACK]),
        lambda toolhouse: toolhouse.session("a", vars=ATTACK),
        lambda toolhouse: toolhouse.stream("a", "x", **{ATTACK: 1}),
        lambda toolhouse: toolhouse.stream("a", "x", format=ATTACK),
        lambda toolhouse: toolhouse.stream("a", "x", timeout=ATTACK),
        lambda toolhouse: toolhouse.map("a", [], concurrency=ATTACK),
        lambda _: JobToken.from_json(ATTACK),
        lambda _: JobToken.from_json('{"agent_id":"a","run_id":"\\u001b[2J","job_id":"j","started":0}'),
        lambda _: AsyncToolhouse(KEY, base_url=f"http://{ATTACK}"),
        lambda _: AsyncToolhouse(KEY, base_url="http://\x1b[2J.example"),
        lambda _: AsyncToolhouse(KEY, proxy=f"x://{ATTACK}"),
        lambda _: AsyncToolhouse(KEY, headers={ATTACK: "x"}),
        lambda _: AsyncToolhouse(KEY, headers={"X": ATTACK}),
        lambda _: PollingPolicy(deadline=ATTACK),  # type: ignore[arg-type]
    ],
)
async def test_control_characters_of_a_caller_are_not_in_the_message_of_an_error(call: Any) -> None:
    async with AsyncToolhouse(KEY, base_url="http://127.0.0.1:1") as toolhouse:
        with pytest.raises(ConfigurationError) as caught:
            call(toolhouse)
    assert is_harmless(str(caught.value)), ascii(str(caught.value))


@attrs.define
class Figures:
    rows: dict[str, int]


@pytest.mark.parametrize("wanted", [Figures, dict[str, int], list[Figures]])
@pytest.mark.parametrize("text", [ATTACK, '{"rows": {"\\u001b[2J\\n": "\\u001b[31m"}}', '{"\\u001b[2J": "\\n"}'])
def test_control_characters_of_an_answer_are_not_in_what_json_and_parse_raise(text: str, wanted: Any) -> None:
    result = TurnResult("a", "r", text=text)
    with pytest.raises(ValueError, match="JSON") as caught:
        result.parse(wanted)
    assert is_harmless(str(caught.value)), ascii(str(caught.value))


# The command line, whose output a terminal shows as it is


@pytest.fixture
async def hostile() -> Any:
    """A service whose every word is an attack; it serves what the path's first part names."""
    by_agent = {
        "words": response(
            headers={RUN: "r1"},
            body=ndjson(
                {"type": "text", "text": ATTACK},
                {"type": "tool_call", "name": ATTACK, "arguments": {ATTACK: ATTACK}},
                {"type": "tool_result", "name": ATTACK, "content": ATTACK},
                {"type": ATTACK, ATTACK: ATTACK},
                ATTACK,
            )
            + ATTACK.encode()
            + b"\n",
        ),
        **{name.replace(" ", "-").replace("'", ""): answer for name, answer in BODIES.items()},
    }

    async def script(reader: object, writer: asyncio.StreamWriter, request: Any) -> None:
        # What becomes of an answer is the same without its history.
        writer.write(response(404) if request.method == "GET" else by_agent[request.path.split("/")[2]])
        writer.close()

    async with RawServer(script) as server:
        yield server.url, list(by_agent)


ONE_BY_ONE = """
import json, sys
from toolhouse_async._cli import main

for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    main()
    for stream in (sys.stdout, sys.stderr):
        print("\\0", end="", file=stream, flush=True)
"""
"""One process for several commands: to start one takes much longer than to run a command."""


async def test_nothing_that_a_worker_says_is_obeyed_by_the_terminal(hostile: Any) -> None:
    url, agents = hostile
    calls = [(agent, options) for agent in agents for options in ([], ["--json"]) if agent == "words" or not options]
    commands = [
        ["run", agent, "hi", "--base-url", url, "--api-key", "", *options, "--timeout", "20"]
        for agent, options in calls
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ONE_BY_ONE, json.dumps(commands)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    out, errors = await process.communicate()
    assert process.returncode == 0
    parts = [*zip(out.decode().split("\0"), errors.decode().split("\0"), strict=True)]
    assert parts.pop() == ("", "")
    for (agent, options), told in zip(calls, parts, strict=True):
        assert any(told)
        for line in "".join(told).split("\n"):
            assert is_harmless(line.replace("\t", "")), (agent, options, ascii(line))
        assert "Traceback" not in told[1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_at_all_makes_a_message_of_more_than_one_line(text: str) -> None:
    for error in (ToolhouseError(text), ConfigurationError(text), WorkerError(text), APIStatusError(text, status=500)):
        assert is_harmless(str(error))
        str(error).encode()
