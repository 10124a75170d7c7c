"""Settings that are wrong, or missing."""

from __future__ import annotations

import pytest

from tests.cli.support import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a=id=text"], "TOOLHOUSE_API_KEY"),
        (["a=no/id=text", "--api-key", "k"], "agent id"),
        (["a=https://elsewhere.example/id=text", "--api-key", "k"], "elsewhere.example"),
        (["a=id=text", "--api-key", "k", "--base-url", "http://elsewhere.example"], "http://"),
    ],
)
def test_they_are_status_2_before_anything_is_served(arguments: list[str], message: str) -> None:
    done = run("mcp", "--worker", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
