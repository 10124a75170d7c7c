from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async._wire.ids import agent_id_of, check_id, is_id
from toolhouse_async.errors import ConfigurationError

BASE = "https://agents.toolhouse.ai"
GOOD = ["a", "A-b_9", "0f8fad5b-d9cb-469f-a165-70867728950e", "x" * 128]
BAD: list[Any] = [
    "",
    "..",
    ".",
    "a/b",
    "a?x",
    "a#x",
    "%2e%2e",
    "a b",
    "a\n",
    "\na",
    "é",
    "a:b",
    "x" * 129,
    None,
    5,
    b"a",
    "٣",
]


@pytest.mark.parametrize("value", GOOD)
def test_ids_are_letters_digits_and_two_marks(value: str) -> None:
    assert is_id(value)
    assert check_id(value) == value
    assert agent_id_of(value, BASE) == value


@pytest.mark.parametrize("value", BAD)
def test_nothing_else_is_an_id(value: Any) -> None:
    assert not is_id(value)
    with pytest.raises(ConfigurationError, match="not a valid run id"):
        check_id(value, "run id")
    with pytest.raises(ConfigurationError, match="not a valid agent id"):
        agent_id_of(value, BASE)


def test_the_error_is_short() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_id("/" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("url", "base"),
    [
        (f"{BASE}/agent-1", BASE),
        (f"{BASE}/agent-1/", BASE),
        (f"{BASE}/ndjson/agent-1", BASE),
        (f"{BASE}/agent-1", f"{BASE}/"),
        (f"{BASE}:443/agent-1", BASE),
        ("HTTPS://Agents.Toolhouse.AI/agent-1", BASE),
        ("http://127.0.0.1:80/agent-1", "http://127.0.0.1"),
        ("http://127.0.0.1:8080/agent-1", "http://127.0.0.1:8080"),
        ("http://gateway/workers/agent-1", "http://gateway/workers"),
        ("http://gateway/workers/ndjson/agent-1", "http://gateway/workers/"),
    ],
)
def test_a_workers_url_names_its_id(url: str, base: str) -> None:
    assert agent_id_of(url, base) == "agent-1"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        (f"{BASE}/", BASE),
        (f"{BASE}/..", BASE),
        (f"{BASE}/a/b", BASE),
        (f"{BASE}/a?x=1", BASE),
        (f"{BASE}/a#x", BASE),
        (f"{BASE}/%61", BASE),
        (f"{BASE}/ndjson/", f"{BASE}/x"),
        ("https://user@agents.toolhouse.ai/a", BASE),
        ("https://user:word@agents.toolhouse.ai/a", BASE),
        ("https://agents.toolhouse.ai.example.com/a", BASE),
        ("https://example.com/a", BASE),
        ("http://agents.toolhouse.ai/a", BASE),
        ("https://agents.toolhouse.ai:8443/a", BASE),
        ("https://agents.toolhouse.ai:x/a", BASE),
        ("https://[::1/a", BASE),
        (f"{BASE}/a\nb", BASE),
        (f"{BASE}/a\tb", BASE),
        (f" {BASE}/a", BASE),
        ("http://gateway/agent-1", "http://gateway/workers"),
        ("http://gateway/workersagent-1", "http://gateway/workers"),
    ],
)
def test_no_other_url_does(url: str, base: str) -> None:
    with pytest.raises(ConfigurationError, match="not a worker"):
        agent_id_of(url, base)


def test_another_services_url_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="base_url="):
        agent_id_of("https://example.com/a", BASE)


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        agent_id_of("https://user:hunter2@agents.toolhouse.ai/a", BASE)
    assert "hunter2" not in str(caught.value)


def test_a_worker_is_known_by_its_public_url_too() -> None:
    assert (
        agent_id_of("https://agents.toolhouse.ai/agent-1", "http://127.0.0.1:1", "https://agents.toolhouse.ai")
        == "agent-1"
    )
    with pytest.raises(ConfigurationError):
        agent_id_of("https://agents.example/agent-1", "http://127.0.0.1:1", "https://agents.toolhouse.ai")
