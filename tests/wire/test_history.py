from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests.wire.strategies import json_values
from toolhouse_async._wire.history import parse_history
from toolhouse_async.errors import UnexpectedContentError


def test_a_history_is_read() -> None:
    entries = parse_history(b'[{"role": "user", "content": "hi", "id": 7}, {"role": "assistant", "content": []}]')
    assert [(entry.role, entry.content) for entry in entries] == [("user", "hi"), ("assistant", [])]
    assert entries[0].raw == {"role": "user", "content": "hi", "id": 7}
    assert parse_history(b"[]") == ()
    assert parse_history(b"\xef\xbb\xbf[]") == ()


def test_odd_entries_are_kept() -> None:
    entries = parse_history(b'["words", {"role": 5}, null, {"role": "tool", "content": {"x": 1}}]')
    assert [(entry.role, entry.content) for entry in entries] == [
        ("", "words"),
        ("", None),
        ("", None),
        ("tool", {"x": 1}),
    ]
    assert entries[1].raw == {"role": 5}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": "x"}', b"null", b'"[]"', b"[", b"5"])
def test_what_is_not_a_json_array_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedContentError, match=r"the history (could not be read as JSON|is not)") as caught:
        parse_history(body)
    assert caught.value.safe_to_retry is True


@given(json_values)
def test_any_array_is_read(value: Any) -> None:
    entries = parse_history(json.dumps([value]).encode())
    assert len(entries) == 1
    assert isinstance(entries[0].text, str)
    assert entries[0].raw == value
