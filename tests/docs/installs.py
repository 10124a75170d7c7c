"""What README.md and the documentation tell people to install, and what they run with it.

Every line that installs, and every command and import behind it on the page, is found by itself: the nearest line that
installs before it says in which environment it has to work. Before the first such line of a page, and on pages without
one, that is the library alone. ``run_installs.py`` makes the environments and tries all of it.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from attrs import field, frozen
from markdown_it import MarkdownIt

from .blocks import PAGES, ROOT

PACKAGE = "toolhouse-async"
VERSION = re.findall('__version__ = "(.+)"', (ROOT / "toolhouse_async/_version.py").read_text("utf-8"))[0]
EVERY_PAGE = (*PAGES, ROOT / "CONTRIBUTING.md")
ALONE = "."
"""What is installed where a page has said nothing yet."""
PROGRAMS = ("nox", "pytest", "python", "sphinx-build", PACKAGE, "uvicorn")
"""Commands that an environment has to hold."""
OTHERS = ("apt-get", "bash", "curl", "nginx", "pip", "pipx", "uv", "poetry", "pdm", "conda", "npm", "brew")
"""Further first words by which a command in the text is told from a name."""
OWN = ("app", "answers", "commands", "conversations")
"""What pages call the module of their program, and the files of the bots that a program beside them imports."""
SHELL = ("sh", "bash", "shell", "console")
MENTIONS = {
    ("docs/how-to/choose.md", "toolhouse-async chat"): "command-line.md",
    ("docs/how-to/choose.md", "toolhouse-async demo"): "command-line.md",
    ("docs/how-to/choose.md", "toolhouse-async emulator"): "command-line.md",
    ("docs/how-to/choose.md", "toolhouse-async mcp"): "mcp.md",
    **{
        (f"docs/how-to/{page}.md", "toolhouse-async emulator"): "command-line.md"
        for page in ("batches", "json", "many-messages", "notebooks")
    },
    ("docs/how-to/choose.md", "toolhouse-async sessions"): "stuck-job.md",
    ("docs/how-to/stuck-job.md", "toolhouse-async run"): "command-line.md",
}
"""Commands that a page only speaks of, and the page that it sends its readers to for them."""


@frozen
class Install:
    """What one line installs.

    Attributes:
        requirements: What stands behind ``pip install``, options but ``-e`` left out.
        editable: Whether the folder itself is installed, not what is built of it.
    """

    requirements: tuple[str, ...] = (ALONE,)
    editable: bool = False

    def __str__(self) -> str:
        return " ".join((*["-e"] * self.editable, *self.requirements))

    def arguments(self, wheel: str, folder: str) -> list[str]:
        """What to give pip: the folder where it is installed as it is, else the built wheel in its place."""
        found = ["-e"] * self.editable
        for requirement in self.requirements:
            ours = re.fullmatch(rf"(?:\.|{PACKAGE})(\[[a-z,-]+\])?(?:=={re.escape(VERSION)})?", requirement)
            if ours is None:
                found.append(requirement)
            elif self.editable:
                found.append(f"{folder}{ours[1] or ''}")
            else:
                found.append(f"{PACKAGE}{ours[1] or ''} @ file://{wheel}")
        return found


@frozen
class Step:
    """Something that has to work.

    Attributes:
        place: Where it is said.
        install: In which environment.
        command: The words of a command; empty for imports.
        imports: The statements by which Python code imports what is not Python's own.
        code: The Python code before a command on the page, which it may run.
        folder: Where the command finds its files; ``None`` if it runs ``code``.
    """

    place: str
    install: Install
    command: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    code: str = field(default="", repr=False)
    folder: Path | None = None


def read_install(words: list[str]) -> Install | None:
    """What a command installs; ``None`` where it is no command that installs."""
    match [Path(words[0]).name, *words[1:]]:
        case ["pip" | "pip3", "install", *rest] | ["uv", "pip", "install", *rest]:
            pass
        case ["python" | "python3", "-m", "pip", "install", *rest]:
            pass
        case _:
            return None
    options = [word for word in rest if word.startswith("-")]
    unknown = set(options) - {"-e", "--editable", "-q", "--quiet"}
    if unknown:
        raise ValueError(f"pip install with {sorted(unknown)}: say here what that means")
    return Install(tuple(word for word in rest if not word.startswith("-")), bool({"-e", "--editable"} & set(options)))


def commands_of(text: str) -> Iterator[list[str]]:
    """The single commands of shell lines, without the variables before them."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in (*lexer, ";"):
            if not set(word) <= set("&|;<>"):
                words.append(word)
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []


def is_command(text: str) -> bool:
    """Whether a line or a code span is a whole command, not the name of one or of its option."""
    text = re.sub(r"^(?:[A-Z_]+=\S* )+", "", text)
    if re.fullmatch(rf"(?:\S*/)?(?:{PACKAGE} [a-z]+|nox -l|pytest \S+|python \S+\.py)", text):
        return True
    name_or_option = re.fullmatch(r"\S+(?: -?[\w-]+)?", text)
    return Path(text.partition(" ")[0]).name in (*PROGRAMS, *OTHERS) and not name_or_option


def imports_of(code: str, own: Container[str] = ()) -> tuple[str, ...]:
    """The statements of code that import what is neither Python's nor one of its ``own`` modules."""
    found: set[str] = set()
    for node in ast.walk(compile(code, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        tops = {name.partition(".")[0] for name in names}
        if not tops <= sys.stdlib_module_names and not any(top in own for top in tops):
            found.add(ast.unparse(node))
    return tuple(sorted(found))


class _Reader:
    """Reads a page from its top to its end.

    Args:
        page: Its path.
        folder: The folder in which its links to examples lead.
    """

    def __init__(self, page: str, folder: Path) -> None:
        self.steps: list[Step] = []
        self._page = page
        self._folder = folder
        self._install = Install()
        self._code = ""

    def read(self, text: str) -> None:
        for token in MarkdownIt().enable("table").parse(text):
            place = f"{self._page}:{token.map[0] + 1 if token.map else 0}"
            if token.type == "fence":
                self._fence(token.info.strip(), token.content, place)
            for child in token.children or ():
                if child.type == "code_inline" and is_command(child.content):
                    self._shell(child.content, place)
                elif child.type == "link_open" and str(child.attrs["href"]).endswith(".py"):
                    self.steps += example_steps(self._folder / str(child.attrs["href"]), self._install)

    def _fence(self, language: str, text: str, place: str) -> None:
        if language == "python":
            self._code = text
            if imports := imports_of(text, OWN):
                self.steps.append(Step(place, self._install, imports=imports))
        elif language.startswith("{literalinclude}"):
            self.steps += example_steps(self._folder / language.partition("}")[2].strip(), self._install)
        elif language in SHELL or any(map(is_command, text.splitlines())):
            self._shell(text, place)

    def _shell(self, text: str, place: str) -> None:
        for words in commands_of(text):
            made = read_install(words)
            if made is not None:
                self._install = made
                self.steps.append(Step(place, made))
            elif Path(words[0]).name in PROGRAMS and (self._page, shlex.join(words)) not in MENTIONS:
                self.steps.append(Step(place, self._install, tuple(words), code=self._code))


def read_steps(text: str, page: str, folder: Path) -> list[Step]:
    """All that a page installs, runs and imports, in its order.

    Args:
        text: The page.
        page: Its path.
        folder: The folder in which its links to examples lead.
    """
    reader = _Reader(page, folder)
    reader.read(text)
    return reader.steps


def example_steps(example: Path, install: Install) -> list[Step]:
    """What a file of examples needs, runs and imports, by its first lines and its code.

    Args:
        example: The file.
        install: What the page installs, for files that say nothing of it.
    """
    text = example.read_text("utf-8")
    place = example.resolve().relative_to(ROOT).as_posix()
    steps: list[Step] = []
    lines = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    for words in commands_of("\n".join(line.strip() for line in lines if line.startswith("    "))):
        made = read_install(words)
        if made is not None:
            install = made
            steps.append(Step(place, install))
        else:
            steps.append(Step(place, install, tuple(words), folder=example.parent))
    siblings = {other.stem for other in example.parent.glob("*.py")}
    if imports := imports_of(text, siblings):
        steps.append(Step(place, install, imports=imports))
    return steps


def all_steps(pages: Iterable[Path] = EVERY_PAGE) -> list[Step]:
    """All that all pages install, run and import."""
    return [
        step
        for page in pages
        for step in read_steps(page.read_text("utf-8"), page.relative_to(ROOT).as_posix(), page.parent)
    ]


def lines_that_install(text: str) -> list[str]:
    """Every line of a page that speaks of installing with pip or the like, however it is written."""
    return re.findall(r"^.*\b(?:pip3?|pipx|uv|poetry|pdm|conda) (?:install|add|tool)\b.*$", text, re.MULTILINE)
