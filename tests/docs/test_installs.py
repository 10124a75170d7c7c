"""What the pages install, run and import is found; ``run_installs.py`` tries it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from .blocks import ROOT
from .installs import (
    EVERY_PAGE,
    MENTIONS,
    VERSION,
    Install,
    Step,
    all_steps,
    commands_of,
    imports_of,
    is_command,
    lines_that_install,
    read_install,
    read_steps,
)
from .run_installs import DRIVERS

STEPS = all_steps()


def steps_of(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    steps = read_steps(text, "page.md", Path())
    return [(str(step.install), " ".join(step.command), step.imports) for step in steps]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_line_that_installs_is_missed(page: Path) -> None:
    text = page.read_text("utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = [step for step in read_steps(text, name, page.parent) if step.place.startswith(name)]
    installs = [step for step in found if not step.command and not step.imports]
    assert len(installs) == sum(line.count(" install ") for line in lines_that_install(text))


GUIDES = [page for page in EVERY_PAGE if page.parent.name in ("how-to", "tutorial") or page.name == "README.md"]


@pytest.mark.parametrize("page", [*GUIDES, ROOT / "docs/index.md"], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_says_what_to_install_before_it_runs_anything(page: Path) -> None:
    name = page.relative_to(ROOT).as_posix()
    steps = read_steps(page.read_text("utf-8"), name, page.parent)
    if (name, "toolhouse-async demo") not in MENTIONS and steps:
        assert not steps[0].command
        assert not steps[0].imports


def test_every_file_of_the_examples_is_on_a_page() -> None:
    files = list((ROOT / "docs/examples").rglob("*.py"))
    own = {path.stem for path in files}
    examples = {path.relative_to(ROOT).as_posix() for path in files if imports_of(path.read_text("utf-8"), own)}
    assert examples == {step.place for step in STEPS if step.place.startswith("docs/examples/")}


def test_every_command_can_be_tried() -> None:
    assert {Path(step.command[0]).name for step in STEPS if step.command} == DRIVERS.keys()


def extras_of(requirements: tuple[str, ...]) -> set[str]:
    """The extras that lines install, with all that these bring."""
    named = {extra for each in requirements for extra in re.findall(r"[a-z-]+", "".join(re.findall(r"\[.*\]", each)))}
    every = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    brought = {
        extra
        for name in named
        for extra in extras_of(tuple(each for each in every[name] if each.startswith("toolhouse-async[")))
    }
    return named | brought


def test_the_command_line_is_installed_where_it_is_run() -> None:
    needs = {"mcp": "mcp", "serve-openai": "serve"}
    runs = [step for step in STEPS if step.command and Path(step.command[0]).name == "toolhouse-async"]
    assert len(runs) > 10
    for step in runs:
        needed = "chat" if "--web" in step.command else needs.get(step.command[1], "cli")
        assert needed in extras_of(step.install.requirements), f"{step.place}: {' '.join(step.command)}"


@pytest.mark.parametrize(("page", "command"), MENTIONS)
def test_a_command_that_is_only_spoken_of_is_explained_elsewhere(page: str, command: str) -> None:
    lines = (ROOT / page).read_text("utf-8").splitlines()
    (line,) = [line for line in lines if f"`{command}`" in line]
    assert re.search(rf"\]\({re.escape(MENTIONS[page, command])}(#[a-z-]+)?\)", line)


PAGE = """
Before anything, `toolhouse-async demo`.

<!-- demo-command -->
```sh
python3 -m venv .venv && .venv/bin/pip install -q -e '.[cli]' && .venv/bin/toolhouse-async demo
```

| what | how |
|---|---|
| a server | after `pip install . fastapi uvicorn`, `uvicorn app:app --port 8000` |

```python
import json, asyncio
from fastapi import FastAPI
from fastapi.responses import Response
import toolhouse_async.web

await asyncio.sleep(json.loads("1"))
```

```text
KEY=secret uvicorn --factory app:make
```

The option `uvicorn --workers` of `uvicorn`, and `pip`.
"""


def test_each_step_has_the_nearest_install_before_it() -> None:
    assert steps_of(PAGE) == [
        (".", "toolhouse-async demo", ()),
        ("-e .[cli]", "", ()),
        ("-e .[cli]", ".venv/bin/toolhouse-async demo", ()),
        (". fastapi uvicorn", "", ()),
        (". fastapi uvicorn", "uvicorn app:app --port 8000", ()),
        (
            *(". fastapi uvicorn", ""),
            ("from fastapi import FastAPI", "from fastapi.responses import Response", "import toolhouse_async.web"),
        ),
        (". fastapi uvicorn", "uvicorn --factory app:make", ()),
    ]


def test_a_file_of_examples_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.installs.ROOT", tmp_path)
    (tmp_path / "other.py").write_text("")
    says = "    pip install 'toolhouse-async[sqlite]' aiogram\n    TOKEN=… python bot.py\n"
    code = f'"""A bot.\n\n{says}\nIt answers.\n"""\n'
    (tmp_path / "bot.py").write_text(f"{code}import aiogram\nimport other\n")
    made = Install(("toolhouse-async[sqlite]", "aiogram"))
    assert read_steps("```{literalinclude} bot.py\n```\n", "page.md", tmp_path) == [
        Step("bot.py", made),
        Step("bot.py", made, ("python", "bot.py"), folder=tmp_path),
        Step("bot.py", made, imports=("import aiogram",)),
    ]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("pip install .", Install()),
        ("python3 -m pip install .", Install()),
        ("uv pip install -q .", Install()),
        (".venv/bin/pip install -e '.[a,b]' c", Install((".[a,b]", "c"), editable=True)),
        ("pip uninstall .", None),
        ("toolhouse-async demo", None),
    ],
)
def test_a_line_that_installs_is_read(command: str, found: Install | None) -> None:
    (words,) = commands_of(command)
    assert read_install(words) == found


@pytest.mark.parametrize("line", ["pip install --pre .", "pip install -r requirements.txt"])
def test_an_option_that_nobody_knows_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="say here what that means"):
        steps_of(f"```sh\n{line}\n```\n")


def test_what_is_built_is_installed_but_where_the_folder_is() -> None:
    assert Install((".[chat]", "x>=1")).arguments("/w.whl", "/f") == ["toolhouse-async[chat] @ file:///w.whl", "x>=1"]
    this, other = f"toolhouse-async=={VERSION}", "toolhouse-async==0.9"
    assert Install((this, other)).arguments("/w.whl", "/f") == ["toolhouse-async @ file:///w.whl", other]
    assert Install(("toolhouse-async",)).arguments("/w.whl", "/f") == ["toolhouse-async @ file:///w.whl"]
    assert Install((".[cli]",), editable=True).arguments("/w.whl", "/f") == ["-e", "/f[cli]"]
    assert Install(("httpx",)).arguments("/w.whl", "/f") == ["httpx"]


@pytest.mark.parametrize("text", ["pip install .", "toolhouse-async demo", ".venv/bin/nox -l", "uvicorn --factory a:b"])
def test_a_command_is_told_from_a_name(text: str) -> None:
    assert is_command(text)


@pytest.mark.parametrize("text", ["pip", "toolhouse-async", "uvicorn --workers", "aiogram", "nox -s", "pip install"])
def test_a_name_is_no_command(text: str) -> None:
    assert not is_command(text)


def test_own_modules_and_pythons_are_not_imports_of_others() -> None:
    assert imports_of("import os\nfrom answers import Chat\nfrom . import x\nimport attrs", {"answers"}) == (
        "import attrs",
    )
