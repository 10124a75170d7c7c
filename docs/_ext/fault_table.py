"""The directive ``fault-table``: what the tests of faults say of themselves, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from docutils import nodes
from docutils.parsers.rst import Directive
from faults import Chapter, chapters

if TYPE_CHECKING:
    from sphinx.application import Sphinx

COLUMNS: Final = {"": 1, "fault": 12, "outcome": 12, "test": 9}
"""Headings and relative widths."""


class FaultTable(Directive):
    """Puts the tables into a page, one for each chapter."""

    def run(self) -> list[nodes.Node]:
        parts: list[nodes.Node] = []
        for chapter in chapters():
            parts += [nodes.rubric("", chapter.title), _table(chapter)]
        return parts


def _table(chapter: Chapter) -> nodes.table:
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in COLUMNS.values()), cols=len(COLUMNS))
    body = nodes.tbody()
    before = 0
    for each in chapter.faults:
        number = "" if each.number == before else str(each.number)
        test = f"``{each.test}``" + (f" (on asyncio's loop alone: {each.needs})" if each.needs else "")
        body += _row(number, each.fault, each.outcome[:1].upper() + each.outcome[1:], test)
        before = each.number
    group += [nodes.thead("", _row(*COLUMNS)), body]
    return nodes.table("", group)


def _row(*cells: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *_inline(cell))) for cell in cells))


def _inline(text: str) -> Iterator[nodes.Node]:
    """Words, and code between double backquotes."""
    for index, part in enumerate(text.split("``")):
        if part:
            yield nodes.literal(part, part) if index % 2 else nodes.Text(part)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("fault-table", FaultTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
