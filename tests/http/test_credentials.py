from __future__ import annotations

import copy
import html
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from toolhouse_async._http.credentials import Credentials, Secret
from toolhouse_async.errors import ConfigurationError

KEY = "th-canary/0123456789&<'\"\\%"


def test_a_key_becomes_a_header() -> None:
    assert Secret("abc").header() == {"Authorization": "Bearer abc"}


def test_a_public_worker_takes_none() -> None:
    assert Secret("").header() == {}
    assert Secret("").redact("text") == "text"
    assert repr(Secret("")) == "Secret()"


@pytest.mark.parametrize("key", ["Bearer abc-secret", '"abc secret"', "abc-secret\n"])
def test_a_key_that_was_copied_with_more_is_told_what_to_leave_out(key: str) -> None:
    with pytest.raises(ConfigurationError, match="without quotes, a trailing newline or the word Bearer") as caught:
        Secret(key).check()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, ascii])
def test_a_key_is_never_shown(show: Any) -> None:
    secret = Secret(KEY)
    assert show(secret) == "Secret([redacted])"
    assert show([secret]) == "[Secret([redacted])]"
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_is_never_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(KEY), protocol)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(KEY).header(), protocol)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_of_a_key_are_as_secret_as_the_key(copied: Callable[[Any], Any]) -> None:
    secret = Secret(KEY)
    assert copied(secret) is secret
    headers = copied({**secret.header()})  # as a tool that records requests copies them
    assert headers == {"Authorization": f"Bearer {KEY}"}
    assert "canary" not in repr(headers)
    assert "canary" not in repr(copied(headers["Authorization"]))
    for value in (secret, headers):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(copied(value))


async def test_where_a_key_comes_from_can_be_copied() -> None:
    for api_key in (KEY, lambda: KEY):
        again = copy.deepcopy(Credentials(api_key))
        assert (await again.secret()).header() == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "key",
    [
        f"{KEY}\n",
        f"{KEY}\r\n",
        f"\n{KEY}",
        f"{KEY}\r\nX-Evil: 1",
        f" {KEY}",
        f"{KEY} ",
        f"{KEY}é",
        f"{KEY}\x00",
        " ",
        "\t",
        "\n",
    ],
)
def test_a_key_that_could_not_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Secret(key).check()
    shown = "".join(traceback.format_exception(caught.value))
    assert "canary" not in shown
    assert "API key" in str(caught.value)


@pytest.mark.parametrize("key", [5, b"bytes-canary", ["canary"], object()])
def test_a_key_is_a_string(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a string") as caught:
        Credentials(key)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        json.dumps(KEY),
        json.dumps({"error": f"bad key {KEY}"}),
        html.escape(KEY),
        quote(KEY, safe=""),
        "th-canary\\/0123456789&<'\"\\%",
        repr([KEY]),
        KEY.upper(),
        quote(KEY, safe="").lower(),
    ],
)
def test_a_key_that_comes_back_is_blacked_out(spelling: str) -> None:
    redacted = Secret(KEY).redact(f"before {spelling} and {spelling} after")
    assert "canary" not in redacted
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")


@pytest.mark.parametrize("spelled", [html.escape(KEY), quote(KEY, safe=""), json.dumps(KEY)[1:-1], KEY.upper()])
def test_half_a_key_is_blacked_out_however_it_is_spelled(spelled: str) -> None:
    for size in range(8, len(spelled)):
        assert Secret(KEY).redact(f"bad key {spelled[:size]}") == "bad key [redacted]"


def test_a_part_of_a_header_is_as_secret_as_the_whole() -> None:
    """As tools show long values: cut."""
    header = Secret("long" * 40).header()["Authorization"]
    for part in (header[:80], header[7:], header[9]):
        assert repr(part) == "[redacted]"


@pytest.mark.parametrize("size", [8, 12, len(KEY) - 1, len(KEY)])
def test_half_a_key_at_the_end_of_a_cut_text_is_blacked_out(size: int) -> None:
    assert Secret(KEY).redact(f"bad key {KEY[:size]}") == "bad key [redacted]"


def test_other_text_stays() -> None:
    assert Secret(KEY).redact("th-can is no key, th-") == "th-can is no key, th-"


async def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLHOUSE_API_KEY", "from-there")
    assert (await Credentials(None).secret()).header() == {"Authorization": "Bearer from-there"}
    assert (await Credentials("given").secret()).header() == {"Authorization": "Bearer given"}
    monkeypatch.setenv("TOOLHOUSE_API_KEY", "")
    assert (await Credentials(None).secret()).header() == {}


def test_without_a_key_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLHOUSE_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=r"TOOLHOUSE_API_KEY.*api_key="):
        Credentials(None)


def test_a_key_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLHOUSE_API_KEY", f"{KEY}\n")
    with pytest.raises(ConfigurationError) as caught:
        Credentials(None)
    assert "canary" not in str(caught.value)


async def test_an_empty_key_is_a_public_worker() -> None:
    assert (await Credentials("").secret()).header() == {}


async def test_a_callable_is_asked_each_time() -> None:
    keys = iter(["one", "two"])
    credentials = Credentials(lambda: next(keys))
    assert [(await credentials.secret()).header()["Authorization"] for _ in range(2)] == ["Bearer one", "Bearer two"]


async def test_a_callable_may_be_async() -> None:
    async def ask() -> str:
        return "later"

    assert (await Credentials(ask).secret()).header() == {"Authorization": "Bearer later"}


async def test_what_a_callable_raises_passes_through() -> None:
    def ask() -> str:
        raise LookupError("vault is closed")

    with pytest.raises(LookupError, match="vault is closed"):
        await Credentials(ask).secret()


@pytest.mark.parametrize("key", [None, 5, f"{KEY}\n"])
async def test_what_a_callable_returns_is_checked(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await Credentials(lambda: key).secret()
    assert "canary" not in str(caught.value)


def test_a_url_is_no_key_and_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="the API key is a URL") as caught:
        Credentials("https://agents.toolhouse.ai/agent-1")
    assert "agent-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "agent_id"), [(KEY, "agent-1"), ("", ""), ("worker", "worker"), (lambda: "agent-12", "agent-12")]
)
def test_another_id_than_the_key_is_let_through(key: Any, agent_id: str) -> None:
    Credentials(key).refuse(agent_id)


def test_the_key_is_no_agent_id() -> None:
    with pytest.raises(ConfigurationError, match="agent id and the API key are the same") as caught:
        Credentials("agent-12").refuse("agent-12")
    assert "agent-12" not in str(caught.value)
