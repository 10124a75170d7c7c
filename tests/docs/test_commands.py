"""The reference of the command line has what the commands themselves say, all of it."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from toolhouse_async._cli.app import commands
from toolhouse_async._cli.statuses import MEANINGS, Status

from .blocks import ROOT

PAGE = (ROOT / "docs/reference/command-line.md").read_text("utf-8")


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What the documentation's Sphinx extension reads commands with; it needs nothing of Sphinx."""
    spec = importlib.util.spec_from_file_location("command_rows", ROOT / "docs/_ext/command_rows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "command_rows", module)
    spec.loader.exec_module(module)
    return module


def helped(*words: str) -> str:
    """What a command prints as its help, in one line."""
    done = CliRunner().invoke(commands, [*words, "--help"], prog_name="toolhouse-async", terminal_width=500)
    assert done.exit_code == 0
    return " ".join(done.output.split())


def every_command(command: click.Command = commands, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    own = command.commands if isinstance(command, click.Group) else {}
    return [words, *(found for name, each in own.items() for found in every_command(each, (*words, name)))]


def test_every_command_is_described_once(rows: ModuleType) -> None:
    names = [" ".join(("toolhouse-async", *words)) for words in every_command()]
    assert [each.name for each in rows.described()] == names


def test_a_description_is_that_of_the_help(rows: ModuleType) -> None:
    for each in rows.described():
        text = helped(*each.name.split()[1:])
        said = [each.usage, *each.paragraphs, each.example, *(part for option in each.options for part in option)]
        assert [part for part in said if part not in text] == []
        assert set(re.findall(r"--[a-z][a-z-]*", text)) == set(
            re.findall(r"--[a-z][a-z-]*", " ".join(word for option in each.options for word in option))
        )


def test_commands_within_a_command_are_described(rows: ModuleType) -> None:
    @click.group("batch")
    def batch() -> None:
        """Many messages."""

    @batch.command("run")
    @click.argument("name")
    @click.option("--rate", type=float, help="Messages\n\nbegun a second.")
    def run(**_: Any) -> None:
        """Begin."""

    whole, part = rows.described(batch)
    assert (whole.name, whole.commands) == ("toolhouse-async", (("run", "Begin."),))
    assert (part.name, part.paragraphs) == ("toolhouse-async run", ("Begin.",))
    assert ("--rate FLOAT", "Messages begun a second.") in part.options


def test_the_page_is_made_of_them() -> None:
    assert "```{command-reference}\n```" in PAGE
    assert "```{exit-statuses}\n```" in PAGE


def test_the_page_that_shows_how_has_every_exit_status() -> None:
    text = (ROOT / "docs/how-to/command-line.md").read_text("utf-8").split("## Talk to a worker")[0]
    listed = {int(number) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for number in row.split(",")}
    assert listed | {Status.PARTLY} == set(Status)


def test_every_exit_status_has_a_meaning_that_the_help_says() -> None:
    assert list(MEANINGS) == list(Status)
    text = helped()
    for status in Status:
        assert f"{status:d} {MEANINGS[status]}" in text


def test_the_variables_are_those_that_the_help_names() -> None:
    named = {name for words in every_command() for name in re.findall(r"\$([A-Z_]+)", helped(*words))}
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)) == named
