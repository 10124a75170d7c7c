"""The checks of this project.

``nox -l`` lists them, ``nox`` runs the everyday ones (those with a star), ``nox -s lint soak`` runs some.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


def without(*paths: str) -> list[str]:
    """The arguments by which pytest leaves out folders and files of tests."""
    return [f"--ignore=tests/{path}" for path in paths]


EVERYDAY = ("-m", "not thorough")
"""What the README's test command runs; ``tests/conftest.py`` says which tests are thorough."""
PURE = ("turn",)
"""Tests of decisions alone, which call no library."""
SAME_ON_EVERY_PYTHON = ("batch", "cli", "mcp", "security", "web", *PURE)
"""What is built upon the core, hostile input to it, and decisions: the same on all Pythons."""
OF_OTHERS = (
    "benchmarks",
    "bots",
    "chat",
    "ci",
    "crash",
    "docs",
    "explore",
    "frameworks",
    "mcp",
    "web/clients",
    "web/frameworks",
)
"""Tests that reach no line of the core that no other reaches: left out where lines are counted."""
WITH_EXTRAS = (
    "chat/test_app.py",
    "cli/conversation/test_chat.py::test_the_last_conversation_goes_on_and_what_was_typed_comes_back",
    "cli/conversation/test_chat.py::test_ctrl_c_stops_an_answer_and_not_the_program",
    "cli/test_completion.py",
    "cli/test_serve_openai.py",
    "mcp/client",
    "mcp/processes/test_stdio.py::test_a_client_starts_it_and_talks_to_a_worker",
)
"""Thorough tests of what uses the libraries of the extras."""
FRAMEWORKS = (
    "a2a-sdk[http-server]>=1.3",
    "google-adk>=2.13",
    "langchain-core>=1.8",
    "langchain-openai>=1.0",
    "langgraph>=1.2",
    "litellm>=1.110",
    "openai-agents>=0.24",
    "pydantic-ai-slim>=2.68",
    "temporalio>=1.35",
)
"""Frameworks of agents that take workers as tools, as models or as agents, and of workflows that ask them."""
COMPARED = ("anthropic>=2.14", "azure-core[aio]>=1.41", "fal-client>=1.0.3", "langgraph-sdk>=0.4.14")
"""Clients of other services with which the documentation compares this one, beside openai."""
BRIEF = "--hypothesis-profile=brief"
"""Fewer of the examples that are tried on another Python, or with other versions, in full."""
UNLIMITED = ("-o", "faulthandler_timeout=0")
"""For single tests that take many minutes."""
EXPLORED = (
    # every state of the machine, up to so many faults and jobs; with "stops" the user may end the turn at any step
    ("tests.explore.courses", "first,second", "2", "2"),
    ("tests.explore.courses", "all", "2", "1"),
    ("tests.explore.courses", "first,second,keyed-reconciled-elsewhere", "2", "1", "stops"),
    ("tests.explore.courses", "third,keyed-third-reconciled-elsewhere", "1", "1", "stops"),
    ("tests.explore.courses", "second", "2", "1", "window=3"),
    # that no violation is lost where states are taken for one
    ("tests.explore.courses", "first,second", "1", "1", "checked"),
    # every run of the real client: those that wait together, and those that are ended from outside
    ("tests.explore", "waiting-together,waiting-with-a-token,waiting-in-two-sessions", "1", "1"),
    ("tests.explore", "asked-by-two,asked-meanwhile", "1", "1"),
    ("tests.explore", "second,straight", "2", "1"),
    ("tests.explore", "closed,timed-out,queued", "1", "1"),
)
"""What the session ``explore`` plays: the explorer, its programs, the most faults and jobs, and further words."""
EXPLORED_FURTHER = (
    ("tests.explore.courses", "first,second,same-words,settled", "3", "2"),
    ("tests.explore.courses", "first,second", "4", "1"),
    ("tests.explore.courses", "all", "2", "2"),
    ("tests.explore.courses", "first,second", "2", "1", "checked"),
    ("tests.explore.courses", "first,second", "1", "2", "checked"),
)
"""What the session ``explore_further`` plays."""
MUTATED = {
    "_turn": ("tests/turn",),
    "_wire": ("tests/wire",),
    "_run": (
        *("tests/run", "tests/test_session.py", "tests/test_log.py", "tests/test_observe.py"),
        *("tests/conversations", "tests/exactly_once", "tests/manager"),
    ),
    "stores": ("tests/stores",),
    "_driver": (
        *("tests/test_driver.py", "tests/test_turn.py", "tests/test_held.py", "tests/test_log.py"),
        *("tests/conversations", "tests/cancellation", "tests/loops", "tests/manager"),
    ),
}
"""What ``mutants`` changes, and the tests that have to notice it."""
EXTRAS_NOBODY_NEEDS = (
    "ag_ui",
    "aiosqlite",
    "cattrs",
    "click",
    "itsdangerous",
    "mcp",
    "opentelemetry",
    "prompt_toolkit",
    "psycopg",
    "pytest",
    "redis",
    "rich",
    "starlette",
    "uvicorn",
)


def answers(python: str, version: str) -> bool:
    """Whether the command is there, works (a shim may not), and is of that version."""
    if not shutil.which(python):
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return result.stdout.strip() == version


def pyenv_folder(version: str) -> Path | None:
    """The folder of pyenv's newest interpreter of that version."""
    root = os.environ.get("PYENV_ROOT", "")
    if not root and shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
    found = [folder for folder in Path(root, "versions").glob(f"{version}.*") if re.fullmatch(r"[\d.]+", folder.name)]
    newest = max(found, key=lambda folder: int(folder.name.rpartition(".")[2]), default=None)
    return newest / "bin" if newest else None


def find_pythons() -> list[str]:
    """The supported versions that are on this machine, made reachable by ``PATH``."""
    found: list[str] = []
    for version in SUPPORTED:
        if not answers(f"python{version}", version):
            folder = pyenv_folder(version)
            if folder is None or not answers(str(folder / f"python{version}"), version):
                continue
            os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        found.append(version)
    absent = ", ".join(version for version in SUPPORTED if version not in found) or "none"
    sys.stderr.write(f"Pythons found: {', '.join(found)}; not on this machine: {absent}\n")
    return found


PYTHONS = find_pythons()
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
nox.options.default_venv_backend = "uv|virtualenv"
nox.needs_version = ">=2025.5"


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The everyday tests, on every Python present; on one of them those that are the same on each."""
    session.install("-e", ".[test]")
    smaller = [] if session.python == PYTHONS[0] else [BRIEF, *without(*SAME_ON_EVERY_PYTHON)]
    session.run("pytest", "-n", "auto", *EVERYDAY, *smaller, *session.posargs)


@nox.session(default=False)
def prereleases(session: nox.Session) -> None:
    """The everyday tests with what is to come of the libraries; it is for every night."""
    session.install("--pre", "-e", ".[test]")
    session.run("pytest", "-n", "auto", *EVERYDAY, *session.posargs)


@nox.session
def thorough(session: nox.Session) -> None:
    """The tests that the everyday ones leave out: searches, programs, bots, browsers, proxies, frameworks, soak.

    Those that measure are a session of their own, ``benchmark_tests``.
    """
    session.install("-e", ".[thorough]")
    session.run("pytest", "-n", "auto", "-m", "thorough", *without("benchmarks"), *session.posargs)


@nox.session
def benchmark_tests(session: nox.Session) -> None:
    """The thorough tests that measure, one at a time; nothing else should be at work meanwhile."""
    session.install("-e", ".[thorough]")
    session.run("pytest", "tests/benchmarks", *session.posargs)


@nox.session(default=False)
def stress(session: nox.Session) -> None:
    """The everyday tests ten times, or as often as told (``-- 3``), in random order beside four busy processes."""
    session.install("-e", ".[test]")
    times, *further = session.posargs or ("10",)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        for _ in range(int(times)):
            session.run("pytest", "-n", "auto", *EVERYDAY, "--hypothesis-profile=exploring", *further)
    finally:
        for process in busy:
            process.kill()
            process.wait()


def extras(*names: str) -> list[str]:
    """The arguments by which uv takes extras in."""
    return [argument for name in names for argument in ("--extra", name)]


def pinned(session: nox.Session, resolution: str, *arguments: str) -> str:
    """A file with versions that the bounds of pyproject.toml allow."""
    pins = str(Path(session.create_tmp()) / f"{resolution}.txt")
    session.run(
        "uv", "pip", "compile", "-q", "--upgrade", "--resolution", resolution, *arguments, "-o", pins, "pyproject.toml"
    )
    return pins


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Known advisories about what users install: with the lowest versions of ours that are allowed, and the newest.

    It is for every night, since advisories come by themselves.
    """
    session.install("uv", "pip-audit>=2.9")
    for resolution in ("lowest-direct", "highest"):
        extra = extras("ag-ui", "chat", "cli", "mcp", "otel", "parse", "postgres", "redis", "serve", "sqlite")
        pins = pinned(session, resolution, *extra)
        session.run("pip-audit", "--strict", "--disable-pip", "--no-deps", "--progress-spinner", "off", "-r", pins)


@nox.session(python=PYTHONS[:2][-1])
def lowest(session: nox.Session) -> None:
    """The everyday tests on the second Python, with the lowest versions of our own dependencies that are allowed.

    Without those of batches and of hostile input, which stand on the core alone, and of decisions.
    """
    session.install("uv")
    # What ours need themselves is found with all else that is installed.
    pins = pinned(
        session, "lowest-direct", "--no-deps", *extras("ag-ui", "chat", "cli", "mcp", "otel", "parse", "postgres")
    )
    # pytest 9.2 renamed what the pytest plugin of the lowest anyio imports.
    session.install("-e", ".[test,mcp]", "pytest<9.2", "-c", pins)
    session.run("pytest", "-n", "auto", *EVERYDAY, BRIEF, *without("batch", "security", *PURE), *session.posargs)
    session.run("pytest", "-n", "auto", *(f"tests/{path}" for path in WITH_EXTRAS), *session.posargs)


@nox.session
def uvloop(session: nox.Session) -> None:
    """The table of faults and the tests behind nginx on uvloop, in real time."""
    session.install("-e", ".[test]", "uvloop>=0.21")
    paths = ("tests/faults", "tests/proxies")
    # Where a signal's handler raises, uvloop reports that and goes on: only a thread can end a test that hangs there.
    options = ("-n", "auto", "--timeout-method=thread", "-k", "uvloop or asked_for")
    session.run("pytest", *options, *paths, *session.posargs, env={"TOOLHOUSE_TEST_UVLOOP": "1"})


@nox.session(default=False)
def frameworks(session: nox.Session) -> None:
    """Workers in agent frameworks, as activities of Temporal and as agents of A2A; and what other clients do."""
    session.install("-e", ".[thorough]", *FRAMEWORKS, *COMPARED)
    # One process: each would load all of the frameworks, which takes longer than the tests.
    session.run("pytest", "tests/frameworks", *session.posargs)


@nox.session(default=False)
def exhaustive(session: nox.Session) -> None:
    """What the everyday tests sample: resets at every byte of a turn, and ten thousand runs waited for at once."""
    session.install("-e", ".[test]")
    session.run("pytest", *UNLIMITED, "tests/exactly_once", *session.posargs, env={"TOOLHOUSE_TEST_ALL": "1"})


@nox.session(default=False)
def explore(session: nox.Session) -> None:
    """Turns in every course that a service can take, up to bounds; or as told (``-- courses second 3 1``)."""
    session.install("-e", ".[test]")
    told = session.posargs
    if told:
        module = "tests.explore.courses" if told[0] == "courses" else "tests.explore"
        session.run("python", "-m", module, *(told[1:] if told[0] == "courses" else told))
        return
    for explored in EXPLORED:
        session.run("python", "-m", *explored)


@nox.session(default=False)
def explore_further(session: nox.Session) -> None:
    """The same up to more faults and jobs; it takes some ten minutes."""
    session.install("-e", ".[test]")
    for explored in EXPLORED_FURTHER:
        session.run("python", "-m", *explored)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Changes the code in every small way that a tool knows; types or tests have to notice each (``-- _turn.search``).

    Further words are the tool's: ``-- _turn --max-children 1``.
    """
    asked, *further = session.posargs or ("_turn",)
    tests = MUTATED[asked.partition(".")[0]]
    session.install("-e", ".[typing]", "mutmut==3.8.1")
    copy = Path(session.create_tmp()) / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".git", ".nox", ".venv", ".*_cache", "_build"))
    path = f"toolhouse_async/{asked.replace('.', '/')}"
    path = f"{path}.py" if Path(f"{path}.py").exists() else path
    # mypy sees several versions of each method in one class, and ignores what is of none of them.
    lenient = [f"--disable-error-code={code}" for code in ("has-type", "no-redef", "var-annotated")]
    settings = {
        "source_paths": ["toolhouse_async"],
        "only_mutate": [path if path.endswith(".py") else f"{path}/*.py"],
        "also_copy": [
            "toolhouse_async_cli.py",
            "toolhouse_async_pytest.py",
            "docs",
            "README.md",
            "CHANGELOG.md",
            "noxfile.py",
        ],
        "pytest_add_cli_args": ["-p", "no:randomly", "-n", "0", *EVERYDAY],
        "pytest_add_cli_args_test_selection": list(tests),
        "type_check_command": ["mypy", "-O", "json", "--no-warn-unused-ignores", *lenient, path],
    }
    with (copy / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    session.chdir(copy)
    session.run("mutmut", "run", *further)
    session.run("python", "-m", "tests.mutants.report", f"toolhouse_async.{asked}.*")


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Brings back faults that there were, one at a time; a test has to notice each (``-- job`` for some)."""
    session.install("-e", ".[thorough]")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Ten thousand turns through broken connections, with the figures printed."""
    session.install("-e", ".[test]")
    session.run("pytest", *UNLIMITED, "-s", "tests/soak", *session.posargs, env={"TOOLHOUSE_SOAK_TURNS": "10000"})


@nox.session(default=False)
def crash(session: nox.Session) -> None:
    """Processes killed at any moment, 500 over each of SQLite, Redis and PostgreSQL, with keys and with a batch."""
    session.install("-e", ".[test]")
    session.run("pytest", *UNLIMITED, "-s", "tests/crash", *session.posargs, env={"TOOLHOUSE_CRASH_KILLS": "500"})


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests, with every line and branch of the core covered."""
    session.install("-e", ".[thorough]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-n", "auto", *without(*OF_OTHERS), *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes."""
    session.install(*nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]["lint"])
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    workflows = sorted(map(str, Path(".github/workflows").iterdir()))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)


@nox.session
def typing(session: nox.Session) -> None:
    """Types, by two checkers, and that every public name has one."""
    session.install(".[typing]")
    session.run("mypy")
    session.run("pyright")
    session.chdir(session.create_tmp())  # elsewhere, so that the installed package is meant, not the source
    session.run("pyright", "--verifytypes", "toolhouse_async", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, warnings and broken references being errors; and the same as Markdown, for programs.

    ``-- VERSION`` is for publishing: the pages say that version, and link to the list of all.
    """
    session.install("-e", ".[docs]")
    published = [word for version in session.posargs for word in ("-D", f"release={version}", "-A", "published=1")]
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-E", "-q", *published, "docs", "docs/_build/html")
    session.run(
        "sphinx-build", "-Q", "-b", "markdown", "docs", "docs/_build/markdown"
    )  # it warns of what it leaves out
    session.run("python", "docs/llms.py", "docs/_build/markdown", "docs/_build/html")
    session.run("python", "-m", "tests.docs.check_site", "docs/_build/html")


@nox.session
def installs(session: nox.Session) -> None:
    """Every line of the documentation that installs, in an environment of its own, and what the pages do in it."""
    made = Path(session.create_tmp()) / "wheel"
    shutil.rmtree(made, ignore_errors=True)
    session.install("uv", "attrs", "markdown-it-py")
    session.run("uv", "build", "-q", "--wheel", "-o", str(made))
    (wheel,) = made.glob("*.whl")
    session.run("python", "-m", "tests.docs.run_installs", str(wheel))


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """The demonstration, as a user sees it."""
    session.install("-e", ".[cli]")
    session.run("toolhouse-async", "demo", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and sdist: built twice to the same bytes, each installed alone and imported; the wheel's bill of materials.

    ``-- FOLDER`` keeps all three there.
    """
    made = Path(session.create_tmp()) / "dist"
    again = made.with_name("again")
    session.install("uv", "cyclonedx-bom>=7.2")
    for folder in (made, again):
        shutil.rmtree(folder, ignore_errors=True)
        session.run("uv", "build", "-q", "-o", str(folder))
    packages = sorted(made.glob("toolhouse_async-*"))
    differ = [each.name for each in packages if not filecmp.cmp(each, again / each.name, shallow=False)]
    assert not differ, f"built again, they differ: {differ}"
    check = (
        "import importlib.util, importlib.resources, toolhouse_async\n"
        f"extras = [name for name in {EXTRAS_NOBODY_NEEDS} if importlib.util.find_spec(name)]\n"
        "assert not extras, f'the core brings {extras}'\n"
        "package = importlib.resources.files(toolhouse_async)\n"
        "assert package.joinpath('py.typed').is_file()\n"
        "skills = sorted(each.name for each in package.joinpath('skills').iterdir())\n"
        "assert skills == ['migrate-to-toolhouse-async', 'toolhouse-async'], skills\n"
        "assert all(package.joinpath('skills', name, 'SKILL.md').is_file() for name in skills)\n"
        "for name in toolhouse_async.__all__: getattr(toolhouse_async, name)\n"
        "print(toolhouse_async.__version__, toolhouse_async.__file__)\n"
    )
    for package in packages:
        empty = made.with_name(f"empty-{package.suffix[1:]}")
        session.run("python", "-m", "venv", "--clear", str(empty), silent=True)
        python = str(empty / "bin" / "python")
        session.run(python, "-m", "pip", "install", "-q", str(package), external=True)
        session.run(python, "-I", "-c", check, external=True)
        if package.suffix == ".whl":
            session.run(python, "-m", "pip", "uninstall", "-q", "-y", "pip", "setuptools", external=True)
            bill = made / f"{package.name.partition('-py3-')[0]}.cdx.json"
            # The bill takes the version from the project's file, where it does not stand.
            version = package.name.split("-")[1]
            stated = made.with_name("pyproject.toml")
            project = Path("pyproject.toml").read_text("utf-8")
            stated.write_text(project.replace('dynamic = ["version"]', f'version = "{version}"'), "utf-8")
            options = ("--pyproject", str(stated), "--mc-type", "library", "--output-reproducible", "--validate")
            session.run("cyclonedx-py", "environment", *options, "-o", str(bill), python)
            check_bill(json.loads(bill.read_text("utf-8")), version)
    for folder in session.posargs:
        shutil.copytree(made, folder, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)


def check_bill(bill: dict, version: str) -> None:
    """Check that the bill of materials lists what the core needs, directly or not, and nothing else."""
    package = nox.project.load_toml("pyproject.toml")["project"]
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == (package["name"], version)
    parts = {part["bom-ref"]: part for part in bill["components"]}
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    direct = {parts[ref]["name"] for ref in needs[root["bom-ref"]]}
    assert direct == {re.split("[^a-z]", each)[0] for each in package["dependencies"]}, direct
    reached, left = set(), [root["bom-ref"]]
    while left:
        new = set(needs[left.pop()]) - reached
        reached |= new
        left += new
    assert reached == set(parts), f"needed by nothing: {set(parts) - reached}"
    assert all(part["version"] and part["licenses"] for part in parts.values())


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """What the library costs, beside aiohttp by itself and other clients; ``--full`` takes as long as the bars ask."""
    session.install("-e", ".[benchmark]")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
