"""Makes an environment of each line that installs, holding just what it says, and tries what the pages do in it.

``python -m tests.docs.run_installs WHEEL`` needs ``uv``; where pages are named behind the wheel, only they are tried.
Servers are started on free ports, asked once, and interrupted; programs that need accounts elsewhere are only loaded.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .blocks import ROOT
from .installs import EVERY_PAGE, Install, Step, all_steps

LIMIT = 120.0
"""Seconds for each thing that is tried."""
WRITTEN_URL = "http://127.0.0.1:8000"
"""Where programs of the pages find the emulator."""
SETTINGS = {
    "AGENT_ID": "echo",
    "CHAT_HOSTS": "127.0.0.1",
    "CHAT_SECRET": "of-no-worth-but-long-enough-to-be-taken-for-a-secret",
    "CHAT_STORE": "chat.db",
    "TOOLHOUSE_API_KEY": "of-no-worth",
    "PYTHONUNBUFFERED": "1",
}


BYTECODE = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
"""Where bytecode is kept: environments that follow each other at one place share it, and half of the work."""


class FailedError(Exception):
    """Something that a page says does not work."""


def surroundings() -> dict[str, str]:
    """The environment variables of what is run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, **SETTINGS, "PYTHONPYCACHEPREFIX": BYTECODE.name}


def run(*command: str, folder: Path, **variables: str) -> str:
    """Run a command to its end; return what it wrote."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**surroundings(), **variables},
        input="Hello\n",  # what a page puts into a pipe
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode:
        raise FailedError(f"status {done.returncode}:\n{done.stdout.strip()[-3000:]}")
    return done.stdout


@contextmanager
def serving(*command: str, folder: Path) -> Iterator[str]:
    """Run a server for the length of a block, and give the last address that it has printed."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watch = threading.Timer(LIMIT, process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            written = ""
            for line in process.stdout:
                written += line
                found = re.findall(r"http://127\.0\.0\.1:\d+\S*", line)
                if found and ("Ctrl-C" in line or "CTRL+C" in line):
                    yield found[-1]
                    break
            else:
                raise FailedError(f"it ended before it served:\n{written.strip()[-3000:]}")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
            watch.cancel()


def ask(url: str) -> None:
    """Get an answer, whatever it says: what is served may have nothing at its root."""
    try:
        urllib.request.urlopen(url, timeout=30).close()
    except urllib.error.HTTPError as error:
        error.close()


class Environment:
    """What one line installs, in a folder.

    Args:
        install: The line.
        folder: Where to make it.
        wheel: The built package.
    """

    def __init__(self, install: Install, folder: Path, wheel: str) -> None:
        self.folder = folder
        self.tools = folder / "bin"
        source = str(ROOT)
        run("uv", "venv", "-q", "--python", sys.executable, str(folder), folder=ROOT)
        arguments = install.arguments(wheel, source)
        run("uv", "pip", "install", "-q", "--python", self.program("python"), *arguments, folder=ROOT)

    def program(self, name: str) -> str:
        """The path of a program, which the environment must have."""
        path = self.tools / Path(name).name
        if not path.exists():
            raise FailedError(f"there is no {path.name} in it")
        return str(path)

    def try_step(self, step: Step) -> None:
        """Do what a page says."""
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            if step.imports:
                isolated = ("-I", "-X", f"pycache_prefix={BYTECODE.name}")
                run(self.program("python"), *isolated, "-c", "\n".join(step.imports), folder=folder)
            if step.command:
                if step.folder is not None:
                    shutil.copytree(step.folder, folder, dirs_exist_ok=True)
                else:
                    (folder / "app.py").write_text(step.code, "utf-8")
                name, *words = step.command
                DRIVERS[Path(name).name](self, words, folder)


def on_free_port(words: list[str]) -> list[str]:
    """The arguments of a server, with any free port in place of the one they name."""
    named = words.index("--port") if "--port" in words else len(words)
    return [*words[:named], *words[named + 2 :], "--port", "0"]


def toolhouse_async(it: Environment, words: list[str], folder: Path) -> None:
    """The command line: one turn against the emulator, a demonstration, a server, or the help of what needs a run."""
    program = it.program("toolhouse-async")
    if words[:2] == ["batch", "run"]:
        rows = "city,country\nGraz,Austria\n"  # of the file that the page has made before
        (folder / words[2]).write_text(rows, "utf-8")
        with serving(program, "emulator", "--port", "0", folder=folder) as url:
            run(program, *words, folder=folder, TOOLHOUSE_BASE_URL=url)
    elif words[0] == "run":
        with serving(program, "emulator", "--port", "0", folder=folder) as url:
            run(program, *words, folder=folder, TOOLHOUSE_BASE_URL=url)
    elif words[0] in ("emulator", "serve-openai") or {"--web", "--http"} & set(words):
        with serving(program, *on_free_port(words), folder=folder) as url:
            ask(url)
    elif words[0] in ("chat", "history", "reconcile", "status", "wait"):  # about runs that the page has made
        run(program, words[0], "--help", folder=folder)
    elif words[0] == "sessions":
        store = (
            "import asyncio; from toolhouse_async.stores import SQLiteSessionStore as S; asyncio.run(S('s').read(''))"
        )
        run(it.program("python"), "-c", store, folder=folder)
        run(program, "sessions", "--store", "s", "list", folder=folder)
    else:
        run(program, *words, folder=folder)


def uvicorn(it: Environment, words: list[str], folder: Path) -> None:
    """A web application: the chat, or the code that stands before the command."""
    if "app:from_environment" in words:
        shutil.copytree(ROOT / "docs/examples/chat", folder, dirs_exist_ok=True)
    with serving(it.program("uvicorn"), *on_free_port(words), folder=folder) as url:
        ask(url)


def python(it: Environment, words: list[str], folder: Path) -> None:
    """A program: all of it but what it does when it is started, unless that is what a worker of ours answers."""
    program = it.program("python")
    file = words[0] if (folder / words[0]).exists() else "app.py"
    code = (folder / file).read_text("utf-8")
    if WRITTEN_URL in code:
        with serving(it.program("toolhouse-async"), "emulator", "--port", "0", folder=folder) as url:
            (folder / file).write_text(code.replace(WRITTEN_URL, url), "utf-8")
            run(program, file, folder=folder)
    else:
        load = f"import sys; sys.path.insert(0, '.'); import runpy; runpy.run_path({file!r}, run_name='loaded')"
        run(program, "-c", load, folder=folder)


def pytest(it: Environment, words: list[str], folder: Path) -> None:
    """The tests are found, with all that they import; others run them."""
    run(it.program("pytest"), *words, "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", folder=ROOT)


@cache
def sessions(program: str) -> frozenset[str]:
    """The names of nox's sessions."""
    return frozenset(re.findall(r"^[*-] (\w+)", run(program, "-l", folder=ROOT), re.MULTILINE))


def nox(it: Environment, words: list[str], folder: Path) -> None:
    """The sessions exist; others run them."""
    words = words[: words.index("--")] if "--" in words else words
    known = sessions(it.program("nox"))
    if words[:1] == ["-s"] and (unknown := set(words[1:]) - known):
        raise FailedError(f"there is no session {', '.join(unknown)}")
    if words[:1] not in (["-s"], ["-l"], []):
        raise FailedError("say here how these words of nox are tried")


def sphinx_build(it: Environment, words: list[str], folder: Path) -> None:
    """The program is there; the session ``docs`` builds the pages, with the same extra."""
    assert len(words) == 2
    run(it.program("sphinx-build"), "--version", folder=ROOT)


DRIVERS: dict[str, Callable[[Environment, list[str], Path], None]] = {
    "nox": nox,
    "pytest": pytest,
    "python": python,
    "sphinx-build": sphinx_build,
    "toolhouse-async": toolhouse_async,
    "uvicorn": uvicorn,
}


def main(wheel: str, pages: Iterable[Path] = EVERY_PAGE) -> int:
    """Try all that the pages say; return the number of failures."""
    steps = all_steps(pages)
    failures = 0
    with tempfile.TemporaryDirectory() as made:
        alike: dict[tuple[str, ...], list[Step]] = {}
        for step in steps:  # the package and the folder of it are the same wheel
            alike.setdefault((*step.install.arguments(wheel, str(ROOT)),), []).append(step)
        for mine in alike.values():
            began = time.monotonic()
            install = mine[0].install
            print(f"pip install {' | '.join(dict.fromkeys(str(step.install) for step in mine))}", flush=True)
            place = Path(made, "environment")
            shutil.rmtree(place, ignore_errors=True)
            try:
                environment = Environment(install, place, wheel)
            except (FailedError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"  FAILED {mine[0].place}: {error}", flush=True)
                continue
            tried: dict[tuple[object, ...], list[Step]] = {}
            together = Step("", install, imports=tuple(sorted({line for step in mine for line in step.imports})))
            try:
                environment.try_step(together)
                print(f"  {len(together.imports)} imports, for {len(mine)} places", flush=True)
                mine = [step for step in mine if step.command]
            except (FailedError, subprocess.TimeoutExpired):  # one by one, to say where
                pass
            for step in (each for each in mine if each.command or each.imports):
                tried.setdefault((step.command, step.imports, step.code if step.command else ""), []).append(step)
            for same in tried.values():
                step = same[0]
                what = " ".join(step.command) or f"{len(step.imports)} imports"
                places = ", ".join(each.place for each in same)
                try:
                    environment.try_step(step)
                except (FailedError, subprocess.TimeoutExpired, OSError) as error:
                    failures += 1
                    print(f"  FAILED {what} ({places}): {error}", flush=True)
                else:
                    print(f"  {what} ({places})", flush=True)
            print(f"  {time.monotonic() - began:.1f} s", flush=True)
    return failures


if __name__ == "__main__":
    failed = main(str(Path(sys.argv[1]).resolve()), [Path(page).resolve() for page in sys.argv[2:]] or EVERY_PAGE)
    if failed:
        sys.exit(f"{failed} of the things that the pages say do not work")
