"""Each how-to page is a complete program first, and prose second."""

from __future__ import annotations

import re
from itertools import pairwise, takewhile
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from .blocks import PAGES, ROOT, Block, read_blocks

FOLDER = ROOT / "docs/how-to"
WITHOUT = {
    "bots.md": "its programs are folders of files",
    "choose.md": "it has a table that leads to the other pages, and no code",
    "notebooks.md": "its code is cells, which await outside of a function",
    "reverse-proxies.md": "its complete thing is nginx's settings, which are no program",
    "stuck-job.md": "an operator types its commands one after the other, each by what the one before has shown",
    "troubleshooting.md": "it goes by the messages of programs that do not work",
}
"""The pages that begin otherwise, and why."""
GUIDES = [page for page in PAGES if page.parent == FOLDER and page.name not in WITHOUT]
COMPLETE = {"framework", "gateway", "mcp-server", "page-server", "program", "pytest", "shell"}
"""The marks of what can be saved and run as it stands."""
SENTENCES = 2
"""How many may stand before the program."""


def is_complete(block: Block) -> bool:
    """Whether a block is a complete program, or the whole of a file of the examples."""
    included = block.language.startswith("{literalinclude}") and block.language.endswith(".py")
    return block.kind in COMPLETE or (included and not re.search("^:(start|end|lines)", block.code, re.MULTILINE))


def beginning(text: str) -> str:
    """A page down to its second heading."""
    headings = [token.map[0] for token in MarkdownIt().parse(text) if token.type == "heading_open" and token.map]
    return "".join(text.splitlines(keepends=True)[: headings[1] if len(headings) > 1 else None])


def sentences_before(text: str, block: Block) -> int:
    """How many sentences stand between the title of a page and a block of it."""

    def is_above(token: Token) -> bool:
        return token.type != "fence" or token.content != block.code

    tokens = list(takewhile(is_above, MarkdownIt().parse(text)))
    paragraphs = [after for before, after in pairwise(tokens) if before.type == "paragraph_open"]
    without_code = [re.sub("`[^`]*`", "code", each.content) for each in paragraphs]
    return sum(len(re.findall(r"[.!?](?=\s|$)|:$", each)) for each in without_code)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_page_begins_with_a_complete_program(page: Path) -> None:
    text = beginning(page.read_text("utf-8"))
    complete = [block for block in read_blocks(text, page.name) if is_complete(block)]
    assert complete
    assert sentences_before(text, complete[0]) <= SENTENCES
    if complete[0].language == "python":
        compile(complete[0].code, complete[0].place, "exec")  # no await that stands outside of a function


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == FOLDER], ids=lambda page: page.name)
def test_the_first_code_of_a_page_about_batches_shows_why_one_waits(page: Path) -> None:
    blocks = [block for block in read_blocks(page.read_text("utf-8"), page.name) if block.language == "python"]
    if any(".batch(" in block.code for block in blocks):
        assert "logging.basicConfig()" in blocks[0].code


def test_every_exception_is_a_page() -> None:
    assert {name for name in WITHOUT if (FOLDER / name).is_file()} == WITHOUT.keys()
    assert len(GUIDES) > 20


PAGE = """
# Title

One sentence with `a.b. c`. Another one:

<!-- program: analyst -->
```python
print(1)
```

Much. More. Prose.

## Second

<!-- shell -->
```sh
true
```
"""


def test_what_stands_before_the_second_heading_is_found() -> None:
    (block,) = read_blocks(beginning(PAGE), "page.md")
    assert is_complete(block)
    assert sentences_before(PAGE, block) == 2


@pytest.mark.parametrize(
    "written",
    [
        PAGE.replace("program: analyst", "example: analyst"),
        PAGE.replace("\n<!-- program", "\n## First\n\n<!-- program"),
        "# Title\n\n```{literalinclude} ../examples/a.py\n:start-at: class A\n```\n",
    ],
)
def test_a_page_that_begins_otherwise_is_noticed(written: str) -> None:
    assert not any(is_complete(block) for block in read_blocks(beginning(written), "page.md"))
