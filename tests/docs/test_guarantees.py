"""Each promise names what holds it, and when it cannot hold."""

from __future__ import annotations

import re

import pytest

from tests.security.test_page import TEST, names_in

from .blocks import ROOT

PAGE = (ROOT / "docs/explanation/guarantees.md").read_text("utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ") and "| held by |" not in line]
SESSIONS = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:40])
def test_every_promise_has_what_holds_it_and_its_conditions(row: list[str]) -> None:
    promise, held_by, conditions = row
    assert promise.strip()
    assert TEST.search(held_by) or "](" in held_by
    assert set(re.findall(r"`nox -s (\w+)`", held_by)) <= set(SESSIONS)
    assert conditions.strip()


@pytest.mark.parametrize(("path", "name"), sorted(set(TEST.findall(PAGE))))
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    assert name in names_in(path)


def test_there_are_promises() -> None:
    assert len(ROWS) > 10
    assert PAGE.count("tests/") == len(TEST.findall(PAGE))
