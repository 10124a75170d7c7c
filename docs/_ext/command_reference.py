"""The directives ``command-reference`` and ``exit-statuses``, made from what the command line itself says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from command_rows import Described, described
from docutils import nodes
from docutils.parsers.rst import Directive

from toolhouse_async._cli.statuses import MEANINGS

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class CommandReference(Directive):
    """Puts a section for each command into a page."""

    def run(self) -> list[nodes.Node]:
        return [_section(each) for each in described()]


class ExitStatuses(Directive):
    """Puts the table of exit statuses into a page."""

    def run(self) -> list[nodes.Node]:
        return [_table(("status", "it means"), ((f"{status:d}", text) for status, text in MEANINGS.items()))]


def _section(command: Described) -> nodes.section:
    section = nodes.section(
        "", nodes.title("", "", nodes.literal(text=command.name)), ids=[nodes.make_id(command.name)]
    )
    section += nodes.literal_block(text=command.usage, language="text")
    section += [nodes.paragraph("", "", *_inline(paragraph)) for paragraph in command.paragraphs]
    if command.example:
        section += nodes.literal_block(text=command.example, language="sh")
    if command.commands:
        section += _table(("command", "what it does"), command.commands)
    section += _table(("option", "what it means"), command.options)
    return section


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> nodes.table:
    group = nodes.tgroup("", nodes.colspec(colwidth=2), nodes.colspec(colwidth=5), cols=2)
    group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in head)))
    body = nodes.tbody()
    for name, text in rows:
        code = nodes.paragraph("", "", nodes.literal(text=name))
        body += nodes.row("", nodes.entry("", code), nodes.entry("", nodes.paragraph("", "", *_inline(text))))
    group += body
    return nodes.table("", group)


def _inline(text: str) -> list[nodes.Node]:
    """A text in which options and variables are code."""
    parts = re.split(r"(--[a-z][a-z-]*|\$[A-Z_]+)", text)
    return [nodes.literal(text=part) if number % 2 else nodes.Text(part) for number, part in enumerate(parts)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("command-reference", CommandReference)
    app.add_directive("exit-statuses", ExitStatuses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
