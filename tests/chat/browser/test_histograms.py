"""Numbers that a tool returns as a histogram are drawn, with their text beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.chat.site import Site

from .conftest import Tab

MASSES = {"column": "mass", "edges": [2700, 3300.5, 3900, 6300], "counts": [60, 1120, 30]}
TEXT = "Histogram of mass: 1,210 values from 2,700 to 6,300; most of them, 1,120, from 3,300.5 to 3,900."


def returned(tab: Tab, site: Site, value: Any) -> None:
    site.result = value
    tab.ask("tools")
    tab.wait_for("idle")


@pytest.mark.parametrize("value", [{"rows": 3, "histogram": MASSES}, MASSES, json.dumps(MASSES)])
def test_a_histogram_is_drawn_beside_its_text(tab: Tab, site: Site, value: Any) -> None:
    returned(tab, site, value)
    for _ in range(2):
        figure = tab.page.locator("figure")
        expect(figure).to_have_count(1)
        assert figure.locator("figcaption").inner_text() == TEXT
        assert figure.get_by_role("img", name="Histogram of mass").count() == 1
        bars = figure.locator("rect")
        heights = [float(bar.get_attribute("height") or 0) for bar in bars.all()]
        assert [round(height / max(heights) * 1120) for height in heights] == MASSES["counts"]
        widths = [float(bar.get_attribute("width") or 0) + 1 for bar in bars.all()]
        assert [width / sum(widths) * 3600 for width in widths] == pytest.approx([600.5, 599.5, 2400])
        assert bars.nth(1).locator("title").text_content() == "3,300.5 – 3,900: 1,120"
        tab.page.reload()
        tab.wait_for("idle")
        tab.wait_for_text("I looked.")


def test_it_is_shown_again_though_the_result_is_too_long_to_be_kept(tab: Tab, site: Site) -> None:
    returned(tab, site, {"histogram": MASSES, "rows": ["x" * 100] * 300})
    expect(tab.page.locator("figure")).to_have_count(1)
    tab.page.reload()
    tab.wait_for("idle")
    tab.wait_for_text("I looked.")
    expect(tab.page.locator("figure figcaption")).to_have_text(TEXT)


BROKEN: list[dict[str, Any]] = [
    {"counts": []},
    {"counts": [1, 2]},
    {"counts": [1, -2, 3]},
    {"counts": [0, 0, 0]},
    {"counts": [1, "2", 3]},
    {"counts": [1, None, 3]},
    {"edges": [1, 2, 2, 3]},
    {"edges": [4, 3, 2, 1]},
    {"edges": "1234"},
    {"edges": list(range(202)), "counts": [1] * 201},
]
OTHERS: list[Any] = ["", 7, [1], "{broken", {"histogram": None}, {"histogram": 3}, "[" * 5000]


def test_what_is_no_histogram_is_not_drawn_and_breaks_nothing(tab: Tab, site: Site) -> None:
    results = [*({"histogram": {**MASSES, **change}} for change in BROKEN), *OTHERS]
    for number, result in enumerate(results, 1):
        returned(tab, site, result)
        expect(tab.page.locator("details.tool")).to_have_count(number)
        expect(tab.page.locator("figure")).to_have_count(0)
    returned(tab, site, MASSES)
    expect(tab.page.locator("figure")).to_have_count(1)


def test_extremes_are_drawn_within_the_picture(tab: Tab, site: Site) -> None:
    edges = [-1.7e308, -1e308, 0, 1e308, 1.7e308]
    returned(tab, site, {"edges": edges, "counts": [1, 2, 1e15, 1], "column": "<b>" * 50})
    figure = tab.page.locator("figure")
    expect(figure).to_have_count(1)
    assert figure.locator("b").count() == 0
    inside = figure.evaluate(
        """figure => {
          const box = figure.querySelector("svg").getBoundingClientRect();
          return [...figure.querySelectorAll("rect, text")].map((each) => each.getBoundingClientRect())
            .every(({ left, right, top, bottom }) => left >= box.left - 1 && right <= box.right + 1
              && top >= box.top - 1 && bottom <= box.bottom + 1);
        }"""
    )
    assert inside
