"""No public name changes unless the changelog says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .api import RELEASED, listing, public_modules

ROOT = Path(__file__).parent.parent


def read(lines: list[str]) -> dict[str, str]:
    """The names, and what each is."""
    return {name: text for name, _, text in (line.partition(": ") for line in lines)}


def names_to_say(before: dict[str, str], now: dict[str, str]) -> set[str]:
    """The names that differ; those of a class that came or went are said with it."""
    differ = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    either = before.keys() ^ now.keys()
    said = {name for name in differ if name.rpartition(".")[0] not in either}
    return {re.sub(r"\.__\w+__$", "", name).rpartition(".")[2] for name in said}


def test_a_change_of_the_public_interface_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    unreleased = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]
    changed = names_to_say(read(RELEASED.read_text("utf-8").splitlines()), read(listing()))
    assert [name for name in sorted(changed) if not re.search(rf"\b{name}\b", unreleased)] == []


CLASS = {"m.A": "class()", "m.A.f": "(self)", "m.A.__init__": "(self)"}


@pytest.mark.parametrize(
    ("before", "now", "names"),
    [
        (CLASS, CLASS, set()),
        ({}, CLASS, {"A"}),
        (CLASS, {}, {"A"}),
        (CLASS, {**CLASS, "m.A.f": "(self, x)"}, {"f"}),
        (CLASS, {**CLASS, "m.A.g": "(self)"}, {"g"}),
        (CLASS, {**CLASS, "m.A.__init__": "(self, x)"}, {"A"}),
        ({"m.f": "()"}, {"m.f": "(x)"}, {"f"}),
    ],
)
def test_what_has_to_be_said(before: dict[str, str], now: dict[str, str], names: set[str]) -> None:
    assert names_to_say(before, now) == names


def test_the_listing_has_every_public_module_with_its_parameters() -> None:
    lines = listing()
    assert {f"{line.partition(': ')[0].rpartition('.')[0]}" for line in lines} >= set(public_modules())
    (run,) = [line for line in lines if line.startswith("toolhouse_async.AsyncToolhouse.run: ")]
    assert run.endswith(
        ": async (self, agent_id: str, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> TurnResult"
    )
    assert [line for line in lines if " at 0x" in line] == []
