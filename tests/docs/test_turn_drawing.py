"""The diagram of the course of a turn shows the library's own table, all of it."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from toolhouse_async._turn.table import TABLE, Signal, State

from .blocks import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def turn_drawing() -> ModuleType:
    """What the documentation's Sphinx extension draws with; it needs nothing of Sphinx."""
    spec = importlib.util.spec_from_file_location("turn_drawing", ROOT / "docs/_ext/turn_drawing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_transition_is_drawn_once_with_its_words(turn_drawing: ModuleType) -> None:
    drawing = ET.fromstring(turn_drawing.draw(TABLE))
    rows = drawing.findall(f"{SVG}g[@class='row']")
    drawn = {(row.get("data-state"), row.get("data-signal")): row.get("data-target") for row in rows}
    assert drawn == {(state.name, signal.name): target.name for (state, signal), target in TABLE.items()}
    assert len(rows) == len(TABLE)
    words = {row.get("data-signal"): row.findtext(f"{SVG}text") for row in rows}
    assert words == {signal.name: signal.value for _, signal in TABLE}


def test_every_state_has_a_column(turn_drawing: ModuleType) -> None:
    drawing = ET.fromstring(turn_drawing.draw(TABLE))
    names = [
        " ".join(span.text or "" for span in text) for text in drawing.findall(f"{SVG}g[@class='state']/{SVG}text")
    ]
    assert names == [state.value for state in State]


def test_arrows_lead_from_column_to_column_within_the_picture(turn_drawing: ModuleType) -> None:
    drawing = ET.fromstring(turn_drawing.draw(TABLE))
    width = float(drawing.get("viewBox", "").split()[2])
    columns = {state.name: line.get("x1") for state, line in zip(State, drawing.iter(f"{SVG}line"), strict=True)}
    for row in drawing.findall(f"{SVG}g[@class='row']"):
        circle, tip = row.find(f"{SVG}circle"), row.find(f"{SVG}polygon")
        assert circle is not None
        assert tip is not None
        assert circle.get("cx") == columns[str(row.get("data-state"))]
        assert tip.get("points", "").split(",")[0] == columns[str(row.get("data-target"))]
        assert 0 < float(circle.get("cx", 0)) < width


def test_a_transition_to_its_own_state_is_a_loop(turn_drawing: ModuleType) -> None:
    drawing = ET.fromstring(turn_drawing.draw({(State.WAITING, Signal.JOB): State.WAITING}))
    path = drawing.find(f"{SVG}g[@class='row']/{SVG}path")
    assert path is not None
    assert " v" in path.get("d", "")
