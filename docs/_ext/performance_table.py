"""The directive ``performance-table``: the figures of the kept benchmark run, as a table with their bars."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from docutils.parsers.rst import Directive
from performance_rows import cells

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FIGURES: Final = Path(__file__).parent.parent / "explanation" / "performance" / "figures.json"
COLUMNS: Final = {"measure": 12, "of": 6, "figure": 5, "compared with": 9, "ratio": 3, "bar": 3, "met": 3}
"""Headings and relative widths."""


class PerformanceTable(Directive):
    """Puts the table into a page; with an argument only the measures whose names begin so."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        figures = json.loads(FIGURES.read_text("utf-8"))
        rows = figures["rows"]
        if self.arguments:
            begin = self.arguments[0].split(" or ")
            rows = [row for row in rows if any(row["measure"].startswith(each) for each in begin)]
            if not rows:
                raise self.error(f"no measure begins with {self.arguments[0]!r}")
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in COLUMNS.values()), cols=len(COLUMNS))
        body = nodes.tbody("", *(_row(*cells(row)) for row in rows))
        group += [nodes.thead("", _row(*COLUMNS)), body]
        return [nodes.table("", group)]


def _row(*texts: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("performance-table", PerformanceTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
