"""The command while its modules are still being imported."""

import signal
import subprocess
import sys

import pytest

from tests.cli.support import COMMAND, environment

INTERRUPTED = """
import os, signal, sys

signal.signal(signal.SIGINT, {handler})

class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["--version"]
"""


def start(module, handler):
    """Run the command, with a Ctrl-C as it begins to import a module."""
    code = INTERRUPTED.format(module=module, handler=handler) + COMMAND[-1].removeprefix("import sys; ")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), check=False)


@pytest.mark.parametrize(
    "module",
    ["toolhouse_async", "toolhouse_async._client", "aiohttp", "toolhouse_async._cli", "toolhouse_async._cli.app"],
)
def test_an_interruption_while_it_is_imported_is_quiet(module):
    done = start(module, "signal.default_int_handler")
    assert done.returncode in (-signal.SIGINT, 130)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_what_is_to_ignore_interruptions_does_so_while_it_is_imported():
    done = start("aiohttp", "signal.SIG_IGN")
    assert done.returncode == 0, done.stderr


def test_an_interruption_means_later_what_it_did_before():
    done = start("toolhouse_async._cli.statuses", "lambda *_: print('mine')")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"mine")
