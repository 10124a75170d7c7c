"""Every block says how it is tested, and is found."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from .blocks import BLOCKS, CODE, PAGES, ROOT, Block, marked, read_blocks
from .setups import SETUPS

KINDS = {
    "python": {
        *{"after", "agents", "before", "django-test", "example", "fastapi-test", "file", "fragment"},
        *{"framework", "gateway", "openai", "page-server", "program", "pytest", "recipe", "web", "web-change"},
        "websocket",
    },
    "sh": {
        "asked",
        "chat",
        "demo-command",
        "gateway-serve",
        "install",
        "mcp-server",
        "operator",
        "server",
        "shell",
        "test-command",
        "web-serve",
        "web-server",
    },
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_no_block_is_missed() -> None:
    fences = [
        (page.name, number)
        for page in PAGES
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1)
        if re.fullmatch(r"\s*(`{3,}|~{3,}) *(python|sh|py|bash|shell|console|pycon)\b.*", line)
    ]
    assert len(fences) == len([block for block in BLOCKS if block.language in CODE])
    assert fences


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in CODE], ids=str)
def test_a_block_says_how_it_is_tested(block: Block) -> None:
    assert block.kind in KINDS[block.language]
    if block.kind in ("example", "program"):
        assert block.argument in SETUPS


@pytest.mark.parametrize("block", marked("fragment"), ids=str)
def test_a_fragment_compiles(block: Block) -> None:
    compile(block.code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", [*marked("install"), *marked("demo-command"), *marked("test-command")], ids=str)
def test_what_is_installed_exists(block: Block) -> None:
    extras = re.findall(r"(?:\.|toolhouse-async)\[([a-z,-]+)\]", block.code)  # ours, not those of others
    assert "pip install" in block.code
    assert {name for extra in extras for name in extra.split(",")} <= PROJECT["optional-dependencies"].keys()


def test_a_setup_that_nobody_uses_is_taken_away() -> None:
    assert {block.argument for block in BLOCKS if block.kind in ("example", "program")} == SETUPS.keys()


PAGE = """
# Page

<!-- example: worker -->
```python
print(1)
```

<!-- output -->
```text
1
```

:::{note}
<!-- fragment -->
```python
await x
```
:::

```python
unmarked
```
"""


def test_blocks_are_read_with_their_marks() -> None:
    assert read_blocks(PAGE, "page.md") == [
        Block("page.md:6", "python", "print(1)\n", "example", "worker", "1\n"),
        Block("page.md:17", "python", "await x\n", "fragment"),
        Block("page.md:22", "python", "unmarked\n"),
    ]
