from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async._wire.ids import agent_id_of, check_agent_id, check_id, is_id
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


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:9999/echo", "http://127.0.0.1:9999"),
        ("https://127.0.0.1:8138/echo", "https://127.0.0.1:8138"),
        ("http://user:hunter2@127.0.0.1/echo", "http://127.0.0.1"),
        ("http://[::1]:8138/echo", "http://[::1]:8138"),
    ],
)
def test_another_service_is_named_with_all_that_makes_it_another(url: str, origin: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        agent_id_of(url, "http://127.0.0.1:8138")
    assert str(caught.value).startswith(f"not a worker of http://127.0.0.1:8138, but of {origin!r}: ")


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


WHERE = "the worker's page at Toolhouse shows its URL, https://agents.toolhouse.ai/<agent id>"
GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize("form", ["{}", "https://{}", "http://{}/", " https://{} "])
@pytest.mark.parametrize(
    "page",
    [
        f"app.toolhouse.ai/agents/{GUID}",
        f"App.Toolhouse.AI/chat/{GUID}?tab=1",
        f"toolhouse.app/agents/{GUID}",
        f"www.toolhouse.ai/{GUID}",
        f"toolhouse.ai/{GUID}",
        "docs.toolhouse.ai/toolhouse/developers/workers-api",
    ],
)
def test_another_page_of_toolhouse_says_where_the_id_is(page: str, form: str) -> None:
    for base_url in (BASE, "http://127.0.0.1:1"):
        with pytest.raises(ConfigurationError, match="another page of Toolhouse") as caught:
            agent_id_of(form.format(page), base_url)
        assert WHERE in str(caught.value)
    with pytest.raises(ConfigurationError, match="another page of Toolhouse"):
        check_agent_id(form.format(page))


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (f" {GUID}", "strip"),
        (f"{GUID}\n", "strip"),
        ("\tagent-1 ", "strip"),
        (f"agents.toolhouse.ai/{GUID}", "pass what follows the host"),
        ("a/b", "pass what follows the host"),
        (f"{BASE}/a/{GUID}", "run id, and goes to run_id="),
        (f"{BASE}/ndjson/a/{GUID}/", "run id, and goes to run_id="),
        (f"{BASE}/a?x=1", "leave out what follows the agent id"),
        (f"{BASE}/a#x", "leave out what follows the agent id"),
        (f"{BASE}/a/b/c", "leave out what follows the agent id"),
        (f"{BASE}/a ", "leave out white space"),
        ("https://user@agents.toolhouse.ai/a", "leave out white space, user and password"),
        (5, "expected a string"),
        ("not an id", WHERE),
    ],
)
def test_other_slips_say_what_to_do(value: Any, advice: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        agent_id_of(value, BASE)
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "key",
    [
        "th-abcdef0123456789abcdef0123456789",
        "th_live_Abcdef0123456789Abcdef",
        "sk-proj-abcdef0123456789abcdef",
        "sk-abcdef0123456789abcdef0123",
    ],
)
@pytest.mark.parametrize("form", ["{}", "Bearer {}", "{}=", f"{BASE}/{{}}", " {}"])
def test_a_key_is_no_agent_id_and_is_not_shown(key: str, form: str) -> None:
    for check in (check_agent_id, lambda value: agent_id_of(value, BASE)):
        with pytest.raises(ConfigurationError) as caught:
            check(form.format(key))
        assert key not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["th-worker", "th_desk-2-of-the-customers-of-germany", f"th-{GUID}", f"sk-{GUID}", GUID]
)
def test_a_name_that_begins_as_keys_do_is_an_id(value: str) -> None:
    assert check_agent_id(value) == agent_id_of(value, BASE) == value


def test_a_url_is_not_shown_where_only_an_id_will_do() -> None:
    with pytest.raises(ConfigurationError, match="the agent id alone") as caught:
        check_agent_id("https://user:hunter2@example.com/a")
    assert "hunter2" not in str(caught.value)
