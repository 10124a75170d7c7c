import subprocess
import sys

import pytest

from tests.cli.support import COMMAND


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_the_extra_it_says_how_to_install_it(library):
    code = f"import sys; sys.modules[{library!r}] = None\n{COMMAND[-1]}"
    done = subprocess.run([sys.executable, "-c", code, "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'toolhouse-async[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_library_that_is_missing_from_an_extra_itself_is_no_such_case():
    code = f"import sys; sys.modules['orjson'] = None\n{COMMAND[-1]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "orjson" in done.stderr


def test_help_names_the_commands(cli):
    done = cli("--help")
    assert done.returncode == 0
    for command in ("demo", "run", "emulator"):
        assert f"  {command}" in done.stdout
        assert cli(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "a", "--vars", "{"], "not JSON"),
        (["run", "a", "--vars", "[]"], "not a JSON object"),
        (["run", "a", "--vars", "[" * 100_000], "not JSON"),
        (["run", "a", "--vars", "9" * 5000], "not JSON"),
        (["run", "a", "--timeout", "-1"], "--timeout"),
        (["run", "a"], "TOOLHOUSE_API_KEY"),
        (["run", "no/id", "--api-key", "k"], "agent id"),
        (["emulator", "--port", "70000"], "--port"),
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
    assert entry.value == "toolhouse_async._cli:main"
