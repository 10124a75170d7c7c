"""The code blocks of README.md, documentation and skills for coding agents, and what the comment above each says of it.

A comment directly above a block says how it is tested; without one, a Python or shell block fails the tests:

- ``example: SETUP`` - run as the body of an async function, with the names that a setup of ``setups.py`` gives;
- ``program: SETUP`` - a complete program: run in a process of its own against the workers of ``test_examples.py`` where
  the setup is ``analyst``, and against any other setup as the body of an async function, where time is virtual;
- ``pytest`` - run by pytest; every test in it must pass;
- ``file: NAME`` - a program of the tutorial, see ``test_tutorial.py``;
- ``web: STEP``, ``web-change: STEP``, ``web-server``, ``web-serve`` - the tutorial's chat in the browser, with
  ``page: STEP`` and ``page-change: STEP`` for its page, see ``tests/chat/test_tutorial.py``;
- ``framework: NAME``, ``served``, ``asked``, ``default-nginx``, ``sticky-nginx`` - a server in a web framework, the
  command that serves it, requests to it, and nginx before it, see ``tests/web/frameworks`` and ``test_fastapi.py``;
- ``page-server`` - a server with a page of its own, see ``test_web.py``; ``page-rest`` - what a page does after a
  restart, see ``browser/test_web_page.py``;
- ``django-test`` - its test for the server in Django, see ``tests/web/frameworks/test_serving.py``;
- ``websocket``, ``fastapi-test`` - a part of the application for FastAPI, and its test, see ``test_fastapi.py``;
- ``before: WHAT``, ``after: WHAT`` - the same function by another library and by this one, see ``test_migrate.py``
  and ``test_skills.py``;
- ``gateway: WHAT``, ``gateway-serve`` - the endpoint for OpenAI's clients, such clients, and the command that serves
  it, see ``test_openai_gateway.py``;
- ``openai: WHAT`` - the same by openai-python, run by ``test_openai.py`` against a service of its own;
- ``agents: NAME`` - an agent with a tool of ours in that framework, run by ``tests/frameworks``;
- ``recipe: NAME`` - what a page tries of its file in ``docs/examples``, run by the tests of that name in
  ``tests/frameworks``;
- ``redis-rights`` - rights on a Redis server, which ``tests/web/test_redis_hub.py`` makes do with;
- ``redis-store-rights`` - those that all tests of a ``Place`` there make do with, see ``tests/support/stores.py``;
- ``fragment`` - shows a form and cannot run; it must compile;
- ``shell`` - run by bash; ``server`` - the emulator, started for the tutorial;
- ``chat``, with ``recorded`` - the chat on a terminal, and what it shows; ``operator: CASE`` - what somebody on call
  types, one after the other: see ``test_operating.py``;
- ``mcp-server`` - the server of MCP, started by ``tests/mcp/processes/test_page.py``;
- ``install``, ``demo-command``, ``test-command`` - installs something: the extras that it names must exist;
- ``emulator-output`` - what README.md's program prints with the emulator's ``csv-analyst``;
- ``output`` - on a block of text: what the block before it prints, with ``...`` for what varies.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
SKILLS = sorted((ROOT / "toolhouse_async/skills").glob("*/SKILL.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/[!_]*.md")), *SKILLS]
PAGES = [page for page in PAGES if "_build" not in page.parts]

MARK = re.compile(r"<!-- (?P<kind>[a-z-]+)(?:: (?P<argument>[^>]+))? -->\n?")
CODE = ("python", "sh")


@frozen
class Block:
    """A fenced block.

    Attributes:
        place: The page and the line of its first line.
        language: What stands behind the opening fence.
        code: Its text.
        kind: What the comment above says; empty without one.
        argument: What follows the colon there.
        output: The text of the block marked ``output`` that follows, ``None`` without one.
    """

    place: str
    language: str
    code: str
    kind: str = ""
    argument: str = ""
    output: str | None = None

    def __str__(self) -> str:
        return self.place


def read_blocks(text: str, page: str) -> list[Block]:
    """Return the fenced blocks of a page, those within directives included."""
    blocks: list[Block] = []
    before: Token | None = None
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            mark = MARK.fullmatch(before.content) if before is not None and before.type == "html_block" else None
            kind, argument = (mark["kind"], mark["argument"] or "") if mark else ("", "")
            if kind == "output":
                last = blocks.pop()
                blocks.append(Block(last.place, last.language, last.code, last.kind, last.argument, token.content))
            else:
                line = token.map[0] + 2 if token.map else 0
                blocks.append(Block(f"{page}:{line}", token.info.strip(), token.content, kind, argument))
        before = token
    return blocks


BLOCKS = [block for page in PAGES for block in read_blocks(page.read_text("utf-8"), page.relative_to(ROOT).as_posix())]


def marked(kind: str) -> list[Block]:
    """The blocks whose comment says ``kind``."""
    return [block for block in BLOCKS if block.kind == kind]
