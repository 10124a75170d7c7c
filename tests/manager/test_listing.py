"""What operators see of keys."""

from __future__ import annotations

import pytest

from toolhouse_async._keyed.listing import key_named


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("worker/chat:1", ("worker", "chat:1")),
        ("worker/a/b", ("worker", "a/b")),
        ("worker/", ("worker", "")),
        ("worker", None),
        ("/key", None),
        ("no id/key", None),
    ],
)
def test_an_entrys_name_says_of_which_worker_and_key_it_is(name: str, expected: tuple[str, str] | None) -> None:
    assert key_named(name) == expected
