"""The command line within this process, where no process of its own is needed."""

import io
import sys
from types import SimpleNamespace

import pytest

from tests.support.stores import redis_server
from toolhouse_async import _cli

__all__ = ["cli", "redis_server"]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Runs the command line and returns its status, stdout and stderr."""
    for name in (
        "TOOLHOUSE_API_KEY",
        "TOOLHOUSE_BASE_URL",
        "TOOLHOUSE_STORE",
        "XDG_STATE_HOME",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):  # where a key may be kept, and chats are
        monkeypatch.setenv(name, str(tmp_path))

    def call(*arguments, stdin=b"", **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with io.TextIOWrapper(io.BytesIO(stdin)) as standard_input:
            monkeypatch.setattr(sys, "stdin", standard_input)
            monkeypatch.setattr(sys, "argv", ["toolhouse-async", *map(str, arguments)])
            returncode = _cli.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=returncode, stdout=out, stderr=err)

    return call
