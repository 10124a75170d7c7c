from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest

from toolhouse_async.errors import ProtocolError
from toolhouse_async.web import Callback

BODY = {"run_id": "92fa77db-507e-4c16-9a6d-06fb69eb1caf", "status": "completed", "last_agent_message": "Done: ¿344?"}


def body(**changes: Any) -> str:
    return json.dumps({**BODY, **changes}, ensure_ascii=False)


@pytest.mark.parametrize(
    "given", [body(), body().encode(), json.dumps({"data": BODY}), json.dumps({"data": BODY}).encode()]
)
def test_a_body_is_read(given: str | bytes) -> None:
    callback = Callback.from_json(given)
    assert (callback.run_id, callback.status, callback.last_agent_message) == tuple(BODY.values())
    assert callback.raw == json.loads(given)
    assert pickle.loads(pickle.dumps(callback)) == callback


@pytest.mark.parametrize("given", [body(last_agent_message=None), json.dumps({"run_id": "r", "status": "failed"})])
def test_a_worker_may_have_said_nothing(given: str) -> None:
    assert Callback.from_json(given).last_agent_message is None


def test_half_an_emoji_can_be_written_again() -> None:
    words = Callback.from_json(
        '{"run_id": "r", "status": "completed", "last_agent_message": "\\ud83d"}'
    ).last_agent_message
    assert words == "\ufffd"
    assert Callback.from_json(body(status="\ud83d")).status.encode()


def test_unknown_fields_are_kept() -> None:
    callback = Callback.from_json(body(chat_id="c1", data={"run_id": "another"}))
    assert callback.run_id == BODY["run_id"]
    assert callback.raw["chat_id"] == "c1"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Callback.from_json(body()).status = "failed"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ('"run_id"', "JSON object"),
        ("{}", "run_id"),
        ('{"data": []}', "run_id"),
        ('{"data": {}}', "run_id"),
        (body(run_id="../admin"), "run_id"),
        (body(run_id=None), "run_id"),
        (body(run_id=5), "run_id"),
        (body(run_id="x" * 129), "run_id"),
        (body(status=""), "status"),
        (body(status=None), "status"),
        (body(status=["completed"]), "status"),
        (body(last_agent_message={"text": "Done"}), "last_agent_message"),
        (body(last_agent_message=0), "last_agent_message"),
        (None, "bytes or str, not NoneType"),
        (BODY, "bytes or str, not dict"),
    ],
)
def test_anything_else_is_refused_in_few_words(given: Any, why: str) -> None:
    with pytest.raises(ProtocolError, match=why) as caught:
        Callback.from_json(given)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("character", ["x", "é"])
def test_a_large_body_is_refused(character: str) -> None:
    size = 1024 * 1024 // len(character.encode())
    for given in (body(last_agent_message=character * size), body(last_agent_message=character * size).encode()):
        with pytest.raises(ProtocolError, match="longer than 1048576 bytes"):
            Callback.from_json(given)


def test_the_repr_is_bounded() -> None:
    callback = Callback.from_json(body(status="s" * 100_000, last_agent_message="m" * 100_000, more="x" * 100_000))
    assert len(repr(callback)) < 1500
