import stat
import sys
from pathlib import Path

import pytest

from toolhouse_async._cli.conversation.remembered import Memory, Remembered, state_folder


@pytest.fixture
def make(tmp_path):
    """Makes memories, and keeps what they warn of."""

    def memory(agent_id="worker", service="https://a"):
        return Memory(tmp_path / "state" / "conversations", service, agent_id, make.warnings.append)

    make = memory
    memory.warnings = []
    memory.folder = tmp_path / "state" / "conversations"
    return memory


def test_what_was_kept_is_there_at_the_next_start(make):
    memory = make()
    memory.load()
    assert memory.now == Remembered()
    memory.keep(message="Hello \N{SNOWMAN}")
    memory.keep(run_id="run-1")
    again = make()
    again.load()
    assert again.now == Remembered("run-1", "Hello \N{SNOWMAN}")
    again.keep(message=None)
    memory.load()
    assert memory.now == Remembered("run-1")
    assert make.warnings == []


def test_each_worker_of_each_service_has_its_own(make):
    make().keep(run_id="run-1")
    for other in (make("other"), make(service="https://b")):
        other.load()
        assert other.now == Remembered()


@pytest.mark.skipif(sys.platform == "win32", reason="has other permissions")
def test_nobody_else_can_read_it(make):
    make().keep(run_id="run-1", message="a secret")
    (file,) = make.folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(make.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"run_id": "../x", "message": 5}', b'{"run_id": {}}'])
def test_a_broken_file_is_none(make, content):
    make().keep(run_id="run-1")
    (file,) = make.folder.iterdir()
    file.write_bytes(content)
    memory = make()
    memory.load()
    assert memory.now == Remembered()
    memory.keep(run_id="run-2")
    again = make()
    again.load()
    assert again.now == Remembered("run-2")


def test_a_folder_that_cannot_be_used_is_told_once_and_done_without(make):
    make.folder.parent.mkdir()
    make.folder.write_text("no folder")
    memory = make()
    memory.load()
    memory.keep(run_id="run-1")
    memory.keep(run_id="run-2")
    assert memory.now == Remembered("run-2")
    (warning,) = make.warnings
    assert "not remembered" in warning


def test_nothing_is_left_of_a_file_that_could_not_be_put_in_place(make):
    memory = make()
    memory.keep(run_id="run-1")
    (file,) = make.folder.iterdir()
    file.unlink()
    file.mkdir()
    memory.keep(run_id="run-2")
    assert list(make.folder.iterdir()) == [file]
    assert len(make.warnings) == 1


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_STATE_HOME": "/state"}, "/state"),
        ("linux", {"XDG_STATE_HOME": "relative"}, "HOME/.local/state"),
        ("linux", {}, "HOME/.local/state"),
        ("darwin", {"XDG_STATE_HOME": "/state"}, "HOME/Library/Application Support"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {}, "HOME/AppData/Local"),
    ],
)
def test_the_folder_is_where_the_platform_keeps_state(monkeypatch, tmp_path, platform, environment, expected):
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert state_folder() == Path(expected.replace("HOME", str(tmp_path))) / "toolhouse-async"
