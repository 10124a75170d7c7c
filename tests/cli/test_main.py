import re
import subprocess
import sys

import pytest

from tests.cli.support import COMMAND

WITHOUT = """
import sys
from toolhouse_async._cli import main

for library, words in (("click", ["demo"]), ("rich", ["demo"]), ("mcp", ["mcp", "--worker", "a=id=text"])):
    assert library not in sys.modules
    sys.modules[library] = None
    sys.argv[1:] = words
    print(library, main())
    del sys.modules[library]
"""


def test_without_its_extra_a_command_says_how_to_install_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines() == ["click 2", "rich 2", "mcp 2"]
    assert re.findall(r"pip install '(.+?)'", done.stderr) == [
        f"toolhouse-async[{extra}]" for extra in ("cli", "cli", "mcp")
    ]


HELP = """
import sys
from toolhouse_async._cli import main

for words in ("", "mcp", "chat", "sessions list"):
    sys.argv[1:] = [*words.split(), "--help"]
    assert main() == 0
print(*sys.modules, file=sys.stderr)
"""


def test_help_loads_what_no_command_needs():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert not {"aiosqlite", "mcp", "prompt_toolkit", "pydantic", "redis", "rich", "starlette", "uvicorn"} & set(
        done.stderr.split()
    )


def test_a_library_that_is_missing_from_an_extra_itself_is_no_such_case():
    code = f"import sys; sys.modules['orjson'] = None\n{COMMAND[-1]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "orjson" in done.stderr


def test_help_names_the_commands(cli):
    done = cli("--help")
    assert done.returncode == 0
    for command in (
        *("chat", "completion", "demo", "emulator", "history", "mcp", "reconcile", "run", "serve-openai", "sessions"),
        *("status", "wait"),
    ):
        assert f"  {command}" in done.stdout
        assert cli(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "a", "hi", "--vars", "{"], "not JSON"),
        (["run", "a", "hi", "--vars", "[]"], "not a JSON object"),
        (["run", "a", "hi", "--vars", "[" * 100_000], "not JSON"),
        (["run", "a", "hi", "--vars", "9" * 5000], "not JSON"),
        (["run", "a", "--timeout", "-1"], "--timeout"),
        (["run", "a", "hi", "--timeout", "nan"], "'--timeout': 'nan' is no number of seconds"),
        (["run", "a", "hi", "--timeout", "soon"], "'--timeout': 'soon' is no number of seconds"),
        (["run", "a", "hi", "--timeout", "0"], "'--timeout': 0"),
        (["wait", "a", "b", "--timeout", "inf"], "'--timeout': 'inf' is no number of seconds"),
        (["run", "a", "hi", "--api-key", "k", "--base-url", "http://example.com"], "or pass --allow-insecure if"),
        (["status", "a", "b", "--api-key", "k", "--base-url", "x"], "--base-url must be an http:// or https:// URL"),
        (["history", "https://example.com/a", "b", "--api-key", "k"], "pass --base-url to use another service"),
        (["demo", "--port", "99"], "--port needs --web"),
        (["demo", "--web", "--column", "x"], "--column is for the demonstration without --web"),
        (["mcp", "--worker", "a=id=text", "--port", "0"], "--port needs --http"),
        (["mcp", "--worker", "a=id=text", "--token", "x"], "--token needs --http"),
        (["mcp", "--worker", "a=id=text", "--host", "::1"], "--host needs --http"),
        (["history", "a", "b", "--markdown", "--json"], "--json and --markdown exclude each other"),
        (["run", "a"], "no message"),
        (["run", "a", "hi"], "TOOLHOUSE_API_KEY"),
        (["run", "no/id", "hi", "--api-key", "k"], "agent id"),
        (["emulator", "--port", "70000"], "--port"),
        (["history", "a"], "Missing argument"),
        (["status", "--api-key", "k"], "Missing argument"),
        (["wait", "a", "b", "c", "--api-key", "k"], "give a job token"),
        (["wait", "a", "b", "--timeout", "0", "--api-key", "k"], "--timeout"),
        (["reconcile", "a", "--api-key", "k"], "Missing argument"),
        (["chat"], "Missing argument"),
        (["sessions", "list"], "no store"),
        (["sessions", "nothing"], "No such command"),
        (["completion", "csh"], "is not one of"),
        (["mcp"], "Missing option '--worker'"),
        (["mcp", "--worker", "a=id"], "not NAME=AGENT_ID=DESCRIPTION"),
        (["mcp", "--worker", "my tool=id=text"], "not a tool's name"),
        (["mcp", "--worker", "a=id=text", "--worker", "a=other=text"], "two workers have the name 'a'"),
        (["mcp", "--worker", "a=id=text\udc80"], "not text"),
        (["mcp", "--worker", "a=id=text", "--port", "-1"], "--port"),
    ],
)
def test_wrong_arguments_and_settings_are_status_2(cli, arguments, message):
    done = cli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_installed_command_is_this_one():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="toolhouse-async")
    assert entry.value == "toolhouse_async_cli:main"
