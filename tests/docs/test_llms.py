"""What programs read beside the pages for a browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from .blocks import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def llms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("llms", DOCS / "llms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_named_once(llms: ModuleType) -> None:
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts
    }
    named = list(llms.pages_in_order())
    assert sorted(named) == sorted(pages)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# A\n\nIt does [this](b.md) and\nthat. And more.\n", "It does this and that."),
        ("# A\n\nIt does:\n\n- this\n", "It does"),
        ("# A\n\nTo run the examples, `pip install .`.\n\n`map` does. It is.\n", "`map` does."),
        ("# A\n\n## B\n\nOf the section.\n", ""),
        ("# A\n\n* a list\n\n### *class* of.Ours\n\nIts docstring.\n", ""),
    ],
)
def test_a_page_is_told_in_its_first_sentence(llms: ModuleType, text: str, sentence: str) -> None:
    assert llms.sentence_of(text) == sentence
    assert llms.title_of(text) == "A"


def test_what_is_written(llms: ModuleType, tmp_path: Path) -> None:
    markdown, html = tmp_path / "markdown", tmp_path / "html"
    for name in llms.pages_in_order():
        for folder in (markdown, html):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (markdown / f"{name}.md").write_text(
            f"# Of {name}\n\nWhat it is.\n\n<!-- example: x -->\n```python\n```\n", "utf-8"
        )
    llms.write(markdown, html)
    listed = (html / "llms.txt").read_text("utf-8")
    assert listed.startswith(
        "# Of index\n\n> What it is.\n\n## Tutorial\n\n- [Of tutorial/index](tutorial/index.md): What it is.\n"
    )
    links = [line.partition("](")[2].partition(")")[0] for line in listed.splitlines() if line.startswith("- ")]
    assert all((html / link).is_file() for link in links)
    assert [f"{name}.md" for name in llms.pages_in_order()] == ["index.md", *links]
    whole = (html / "llms-full.txt").read_text("utf-8")
    assert whole.count("What it is.") == len(links) + 1
    assert "<!--" not in whole
