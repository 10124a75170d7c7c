"""The words of the course of a turn fit into their boxes and into the picture, in the widest of the usual fonts."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.chat.browser.conftest import chromium  # noqa: F401 - a fixture
from tests.docs.test_turn_drawing import turn_drawing  # noqa: F401 - a fixture
from toolhouse_async._turn.table import TABLE, State

MEASURE = """() => {
  const box = (node) => node.getBoundingClientRect();
  const within = (inner, outer) => inner.left >= outer.left && inner.right <= outer.right
      && inner.top >= outer.top && inner.bottom <= outer.bottom;
  const picture = box(document.querySelector("svg"));
  const states = [...document.querySelectorAll("g.state")];
  const boxes = states.map((state) => box(state.querySelector("rect")));
  const rows = [...document.querySelectorAll("g.row text")].map(box);
  const apart = (one, other) => one.right <= other.left || other.right <= one.left
      || one.bottom <= other.top || other.bottom <= one.top;
  return {
    states: states.length,
    rows: rows.length,
    overflowing: states.filter((state, n) => !within(box(state.querySelector("text")), boxes[n])).length,
    outside: [...boxes, ...rows].filter((each) => !within(each, picture)).length,
    overlapping: boxes.filter((one, n) => boxes.some((other, m) => m !== n && !apart(one, other))).length,
    wider: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    letters: parseFloat(getComputedStyle(document.querySelector("svg")).fontSize)
        * picture.width / document.querySelector("svg").viewBox.baseVal.width,
  };
}"""


@pytest.mark.parametrize("width", [736, 358])
@pytest.mark.parametrize("font", ["DejaVu Sans", "sans-serif"])
def test_its_words_fit(
    chromium: Browser,  # noqa: F811
    turn_drawing: ModuleType,  # noqa: F811
    width: int,
    font: str,
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    drawing = f'<div class="turn-table-scroll">{turn_drawing.draw(TABLE)}</div>'
    page.set_content(f"<!doctype html><body style='margin: 0; --font-stack: {font}'>{drawing}")
    found: dict[str, Any] = page.evaluate(MEASURE)
    page.close()
    assert found.pop("letters") > 11  # pixels, at which they can be read
    assert found == {
        "states": len(State),
        "rows": len(TABLE),
        "overflowing": 0,
        "outside": 0,
        "overlapping": 0,
        "wider": False,
    }
