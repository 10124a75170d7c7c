import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import environment

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

COMPLETE = """
eval "$(toolhouse-async completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_toolhouse_async_completion toolhouse-async
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p toolhouse-async
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("toolhouse-async c", ["chat", "completion"]),
        ("toolhouse-async sessions --store x f", ["forget"]),
        ("toolhouse-async wait --no", ["--no-resume"]),
        ("toolhouse-async completion z", ["zsh"]),
        ("toolhouse-async history a b --m", ["--markdown"]),
    ],
)
def test_bash_completes(words, expected):
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    done = subprocess.run(
        ["bash", "--norc", "-eu", "-c", COMPLETE.format(words=words)],
        env=environment(PATH=PATH),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *found, registered = done.stdout.splitlines()
    assert found == expected
    assert "_toolhouse_async_completion toolhouse-async" in registered


@pytest.mark.parametrize(("shell", "words"), [("zsh", "compdef"), ("fish", "complete --no-files")])
def test_other_shells_have_their_script(cli, shell, words):
    done = cli("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout
    assert "_TOOLHOUSE_ASYNC_COMPLETE" in done.stdout
