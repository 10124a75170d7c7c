"""The directive ``turn-table``: the course of a turn as a diagram and a table, made from the library's own table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from docutils.parsers.rst import Directive
from turn_drawing import draw, ordered

from toolhouse_async._turn.table import TABLE

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class TurnTable(Directive):
    """Puts the diagram and the table into a page; for formats other than HTML the table alone."""

    def run(self) -> list[nodes.Node]:
        rows = [(state.value, signal.value, target.value) for (state, signal), target in ordered(TABLE)]
        group = nodes.tgroup(cols=3)
        group += [nodes.colspec(colwidth=1) for _ in range(3)]
        head, body = nodes.thead(), nodes.tbody()
        head += _row(("while", "this happens", "which leads to"))
        body += [_row(row) for row in rows]
        group += [head, body]
        table = nodes.table()
        table += group
        drawing = f'<div class="turn-table-scroll" tabindex="0">{draw(TABLE)}</div>'
        return [nodes.raw("", drawing, format="html"), table]


def _row(cells: tuple[str, ...]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        entry = nodes.entry()
        entry += nodes.paragraph(text=cell)
        row += entry
    return row


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("turn-table", TurnTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
