"""The directive ``shape-table``: which lines give which events, made from the decoder's own table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.parsers.rst import Directive
from shape_rows import HEADS, cells

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class ShapeTable(Directive):
    """Puts one of the tables into a page: ``common``, ``services`` or ``fields``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        head = HEADS[self.arguments[0]]
        widths = (2, 5, 4)[: len(head)]
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(head))
        group += nodes.thead("", _row(head))
        group += nodes.tbody("", *map(_row, cells(self.arguments[0])))
        return [nodes.table("", group)]


def _row(texts: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *_inline(text))) for text in texts))


def _inline(text: str) -> list[nodes.Node]:
    """A text in which what stands in backquotes is code."""
    parts = re.split(r"`([^`]+)`", text)
    return [nodes.literal(text=part) if number % 2 else nodes.Text(part) for number, part in enumerate(parts)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("shape-table", ShapeTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
