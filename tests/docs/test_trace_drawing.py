"""The picture of a trace shows the spans that a turn exports, all of them."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from .blocks import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def trace_drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trace_drawing", ROOT / "docs/_ext/trace_drawing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(picture: ET.Element) -> list[tuple[str | None, str | None]]:
    return [(row.get("data-span"), row.findtext(f"{SVG}text")) for row in picture.findall(f"{SVG}g")]


async def test_the_picture_is_that_of_such_a_turn(trace_drawing: ModuleType) -> None:
    spans = await trace_drawing.make_trace()
    drawn = rows(ET.fromstring(trace_drawing.draw(spans)))
    assert [name for name, _ in drawn] == [span.name for span in spans]
    assert drawn[:4] == [
        ("invoke_agent csv-analyst", "invoke_agent csv-analyst"),
        ("POST", "POST 429"),
        ("POST", "POST 200"),
        ("execute_tool code_interpreter", "execute_tool code_interpreter"),
    ]
    assert {words for _, words in drawn[4:-1]} == {"GET 200"}
    assert drawn[-1] == ("PUT", "PUT 200")
    kept = rows(ET.fromstring((ROOT / "docs/how-to/trace.svg").read_text("utf-8")))
    assert list(dict.fromkeys(kept)) == list(dict.fromkeys(drawn)), "draw it anew: python docs/_ext/trace_drawing.py"


async def test_every_bar_stands_in_the_picture_and_can_be_seen(trace_drawing: ModuleType) -> None:
    spans = await trace_drawing.make_trace()
    for bar in ET.fromstring(trace_drawing.draw(spans)).iter(f"{SVG}rect"):
        left, width = float(bar.get("x", "")), float(bar.get("width", ""))
        assert left >= trace_drawing.NAMES
        assert width >= trace_drawing.LEAST
        assert left + width <= trace_drawing.WIDTH + 0.2  # what is rounded
