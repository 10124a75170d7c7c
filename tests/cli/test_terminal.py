import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from toolhouse_async import AsyncToolhouse, ConfigurationError
from toolhouse_async._cli import terminal
from toolhouse_async._client import BASE_URL


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, žluť, 漢字, 🐧\n\tindented", "plain, žluť, 漢字, 🐧\n\tindented"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("over\rwritten\r\nnext", "over\nwritten\nnext"),
        ("back\b\b\b\bspace\x7f", "back\\x08\\x08\\x08\\x08space\\x7f"),
        ("evil\u202etxt.exe", "evil\\u202etxt.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_obeys_is_shown_instead(text, shown):
    assert terminal.harmless(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_harmless_text_has_no_control_character_and_stays_as_it_is(text):
    shown = terminal.harmless(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert terminal.harmless(shown) == shown
    shown.encode()


@given(st.text(st.characters(exclude_categories=())), st.integers(5, 60))
def test_one_line_is_one_harmless_line_that_fits(text, width):
    line = terminal.one_line(text, width)
    assert len(line) <= width
    assert terminal.harmless(line) == line
    assert not set(line) & set("\n\t")


@given(st.text(st.characters(categories=["L", "N"]), max_size=60))
def test_a_short_line_is_shown_whole(text):
    assert terminal.one_line(text, 60) == text


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "█"), ("ascii", "#"), ("latin-1", "#"), ("cp437", "#")])
def test_signs_are_those_that_the_encoding_can_write(encoding, bar):
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    marks = terminal.make_marks(console)
    assert marks.bar[-1] == bar
    (marks.worker + marks.call + marks.spinner + marks.bar + marks.dash).encode(encoding)


def test_without_a_terminal_there_are_no_control_codes():
    file = io.StringIO()
    console = terminal.make_console(file)
    console.print(terminal.Text("bold", "bold red"))
    assert not console.is_terminal
    assert file.getvalue() == "bold\n"


@pytest.mark.parametrize(
    "base_url",
    [
        *("x", "ftp://x", "http://x", "https://x?y", "https://x/@", "https://user:word@x", "https://[x", "https://x y"),
        *("https://user:p@ss/@x", ""),
    ],
)
def test_a_wrong_setting_is_told_as_that_of_an_option(base_url):
    with pytest.raises(ConfigurationError) as failed:
        AsyncToolhouse("key", base_url=base_url)
    told = terminal.described(failed.value)
    assert "--base-url" in told
    assert not re.search("base_url|allow_insecure|api_key", told)


@pytest.mark.parametrize(
    "base_url", ["x", "http://x", "https://x?y", "https://x/@", "https://user:word@x", "https://x y"]
)
def test_a_wrong_setting_of_the_environment_is_told_by_its_name(monkeypatch, base_url):
    monkeypatch.setenv("TOOLHOUSE_BASE_URL", base_url)
    with pytest.raises(ConfigurationError) as failed:
        AsyncToolhouse("key")
    told = terminal.described(failed.value)
    assert "TOOLHOUSE_BASE_URL" in told
    assert not re.search("base_url|--base-url|allow_insecure|api_key", told)


def test_what_is_to_be_checked_is_where_the_service_may_have_been_named(monkeypatch):
    said = "the server at x:1 cannot be reached; check base_url and the network"
    monkeypatch.delenv("TOOLHOUSE_BASE_URL", raising=False)
    assert terminal.in_options(said).endswith("check --base-url and the network")
    monkeypatch.setenv("TOOLHOUSE_BASE_URL", "http://x:1")
    assert terminal.in_options(said).endswith("check --base-url or TOOLHOUSE_BASE_URL and the network")


@pytest.mark.parametrize(
    "agent_id", ["https://example.com/a", f"{BASE_URL}/a/run-1", "sk-proj-0123456789abcdefghijklmnop"]
)
def test_a_wrong_worker_is_told_by_options(agent_id):
    with pytest.raises(ConfigurationError) as failed:
        AsyncToolhouse("key").session(agent_id)
    assert not re.search("base_url|run_id|api_key", terminal.described(failed.value))


def test_what_a_service_says_is_told_as_it_is():
    assert terminal.in_options('422: "base_url and api_key= are missing"') == '422: "base_url and api_key= are missing"'
