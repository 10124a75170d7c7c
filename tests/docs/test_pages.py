"""What the pages say of the code is so: tables of imports, facts, types, errors and names."""

from __future__ import annotations

import ast
import logging
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import toolhouse_async
from tests.test_imports import ONLY_IN, imports
from tests.wire.services import EXAMPLES
from toolhouse_async import EventDecoder, errors, events, manager, observe, otel, stores, testing, tools, web
from toolhouse_async._turn.table import State
from toolhouse_async._wire.shapes import TABLE
from toolhouse_async.observe import LINES

from .blocks import PAGES, ROOT

DOCS = ROOT / "docs"


def rows(page: str, heading: str) -> list[list[list[str]]]:
    """The table whose head begins with ``heading``: for each row, the code words of each cell."""
    lines = (DOCS / page).read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")])
    assert found
    return found


def test_the_table_of_imports_is_that_of_the_tests() -> None:
    written = {library: tuple(places) for (library,), places in rows("explanation/architecture.md", "library")}
    imported = {each.library for each in imports() if not each.for_types_only}
    assert written == {library: places for library, places in ONLY_IN.items() if library in imported}


def test_every_module_of_the_data_flow_exists() -> None:
    modules = [name for _, names, _ in rows("explanation/architecture.md", "step") for name in names]
    package = Path(toolhouse_async.__file__).parent
    assert [name for name in modules if not (package / f"{name.replace('.', '/')}.py").is_file()] == []


def test_every_fact_about_aiohttp_has_its_test() -> None:
    facts = (ROOT / "tests/http/test_aiohttp_facts.py").read_text("utf-8")
    named = re.findall(r"`(test_\w+)`", (DOCS / "explanation/architecture.md").read_text("utf-8"))
    assert named
    assert [name for name in named if f"def {name}(" not in facts] == []


def test_every_state_of_a_turn_is_explained() -> None:
    lines = (DOCS / "explanation/turn.md").read_text("utf-8").splitlines()
    explained = [before for before, line in pairwise(lines) if line.startswith(": ")]
    assert explained == [state.value for state in State]


def test_the_types_of_events_give_those_events() -> None:
    sample = '{"type": "%s", "text": "t", "id": 1, "name": "n", "content": "c", "message": "m"}'
    for row in TABLE:
        for name in row.types.split() if not row.source else ():
            (made,) = EventDecoder().decode([(sample % name).encode()])
            assert type(made).__name__ == row.event


def test_the_page_shows_the_whole_table_of_shapes() -> None:
    text = (DOCS / "reference/events.md").read_text("utf-8")
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        from shape_rows import HEADS, cells
    finally:
        sys.path.pop(0)
    assert re.findall(r"\{shape-table\} (\w+)", text) == ["common", "fields", "services"]
    shown = {which: cells(which) for which in HEADS}
    assert all(len(row) == len(HEADS[which]) for which, each in shown.items() for row in each)
    assert len(shown["common"]) + len(shown["services"]) == len(TABLE)
    services = {service for service, *_ in shown["services"]} | set(re.findall(r"^\| (\w.*?) \| `", text, re.MULTILINE))
    assert {service for service, *_ in EXAMPLES} <= services
    assert services <= {*(service for service, *_ in EXAMPLES), "AI SDK's messages"}


def test_every_error_is_explained_once() -> None:
    explained = [name for names, *_ in rows("how-to/errors.md", "error") for name in names]
    families = {"ToolhouseError", "TransportError", "JobError"}
    assert sorted(explained) == sorted(set(errors.__all__) - families)


def test_every_public_name_is_in_the_reference_once() -> None:
    text = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    written = re.findall(r"^\.\. auto(?:class|data|function):: (\S+?)(?:\(\))?$", text, re.MULTILINE)
    for module in (events, errors):
        assert f".. automodule:: {module.__name__}\n" in text
        written += [f"toolhouse_async.{name}" for name in module.__all__]
    public = {f"toolhouse_async.{name}" for name in toolhouse_async.__all__}
    public -= {f"toolhouse_async.{name}" for name in ("__version__", "errors", "events", "Event")}
    public |= {
        f"{module.__name__}.{name}"
        for module in (testing, stores, manager, observe, otel, tools, web)
        for name in module.__all__
    }
    public -= {"toolhouse_async.manager.SessionManager"}  # which is in the package itself as well
    assert sorted(each for each in written if not each.endswith(".Event")) == sorted(public)


def test_every_line_of_the_log_is_in_the_reference() -> None:
    package = Path(toolhouse_async.__file__).parent
    files = [file for file in package.rglob("*.py") if not {"_cli", "testing"} & set(file.parts)]
    calls = [
        (node.func.attr, node.args[0])
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
        and node.func.attr in ("debug", "info", "warning", "error", "exception")
    ]
    logged = {(level.replace("exception", "error"), ast.literal_eval(message)) for level, message in calls}
    lines = (DOCS / "reference/observe.md").read_text("utf-8").splitlines()
    table = [re.fullmatch(r"\| (\w+) \| `(.+)` \| .+ \|", line) for line in lines]
    assert {(row[1], row[2]) for row in table if row} == logged


def test_every_line_of_the_observer_that_logs_is_in_the_reference() -> None:
    lines = (DOCS / "reference/observe.md").read_text("utf-8").splitlines()
    table = [re.fullmatch(r"\| `(\w+)` \| (\w+) \| `(.+)` \|", line) for line in lines]
    written = [
        (name.replace("turn_failed", "turn_ended"), logging.getLevelName(level).lower(), line)
        for name, (level, line) in LINES.items()
    ]
    assert [row.groups() for row in table if row] == written


LINK = re.compile(r"\]\((?!https?://)(?P<target>[^)#]*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_other_pages_lead_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text("utf-8")) if match["target"]]
    assert [target for target in targets if not (page.parent / target).is_file()] == []
