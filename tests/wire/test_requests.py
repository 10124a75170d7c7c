from __future__ import annotations

import json
import math

import pytest

from toolhouse_async._wire.requests import Request, read, send
from toolhouse_async.errors import ConfigurationError


def test_a_run_is_read_by_get_without_a_body() -> None:
    request = read("agent", "run")
    assert request == Request("GET", "/agent/run", None, "run")
    assert str(request) == "GET /agent/run"


def test_a_run_is_started_by_post() -> None:
    assert send("agent", None, "text", {"message": "hi"}) == Request("POST", "/agent", b'{"message":"hi"}')
    assert send("agent", None, "ndjson", {"message": "hi"}) == Request("POST", "/ndjson/agent", b'{"message":"hi"}')


def test_a_start_with_nothing_to_say_has_no_body() -> None:
    assert send("agent", None, "ndjson", {}).body is None


def test_a_run_is_continued_by_put() -> None:
    assert send("agent", "run", "text", {"message": ""}) == Request("PUT", "/agent/run", b'{"message":""}', "run")
    assert send("agent", "run", "ndjson", {"message": ""}) == Request(
        "PUT", "/ndjson/agent/run", b'{"message":""}', "run"
    )


@pytest.mark.parametrize("message", ["é \U0001f600 \u2028", 'quote " and \\', "x" * 1_000_000])
def test_any_text_is_sent(message: str) -> None:
    body = send("agent", None, "ndjson", {"message": message}).body
    assert body is not None
    assert json.loads(body) == {"message": message}


@pytest.mark.parametrize("value", [object(), {1, 2}, [2**70, math.inf], "half \ud83d"])
def test_what_is_not_json_is_refused_before_it_is_sent(value: object) -> None:
    with pytest.raises(ConfigurationError, match="the body of the message cannot be written as JSON"):
        send("agent", None, "ndjson", {"vars": {"x": value}})
