"""A file is opened by a path without links, and by no other."""

import os
from pathlib import Path

import pytest

from toolhouse_async._cli.analysis.dialect import detect_dialect
from toolhouse_async._cli.analysis.encoding import CSVError
from toolhouse_async._cli.analysis.opening import open_bytes, open_text
from toolhouse_async._cli.analysis.profile import read_table

TABLE = "x,y\n1,2\n3,4\n"
SECRET = "user,word\nroot,hunter2\n"

pytestmark = pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="folders are opened by their names here")


@pytest.fixture
def path(tmp_path):
    """A file in a folder, beside which there is another with a file of the same name."""
    for name, content in (("inside", TABLE), ("outside", SECRET)):
        (tmp_path / name / "deeper").mkdir(parents=True)
        (tmp_path / name / "deeper" / "a.csv").write_text(content)
    return tmp_path / "inside" / "deeper" / "a.csv"


def test_a_file_is_read(path, monkeypatch):
    with open_bytes(path) as file:
        assert file.read() == TABLE.encode()
    monkeypatch.chdir(path.parent)
    with open_text(Path("a.csv"), "utf-8") as file:
        assert file.read() == TABLE


@pytest.mark.parametrize("part", ["a.csv", "deeper", "inside"])
def test_no_part_of_the_path_is_followed_if_it_is_a_link(path, part):
    """Swapped in behind the check."""
    assert path.resolve() == path
    asked, outside = path, Path(str(path).replace("inside", "outside"))
    while path.name != part:
        path, outside = path.parent, outside.parent
    path.rename(path.with_name("gone"))
    path.symlink_to(outside)
    assert asked.read_text() == SECRET
    for read in (open_bytes, detect_dialect, read_table):
        with pytest.raises((OSError, CSVError)) as caught:
            read(asked)
        assert "hunter2" not in str(caught.value)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, what in (("pipe.csv", "not a regular file"), (".", "a directory"), ("/dev/zero", "not a regular file")):
        with pytest.raises(OSError, match=what):
            open_bytes(tmp_path / name)


def test_no_descriptor_is_left(path):
    """The guards look after that; here is what they look at."""
    for name in ("none.csv", "none/a.csv", ".", "a.csv/b"):
        with pytest.raises(OSError):  # noqa: PT011 - of any kind
            open_bytes(path.parent / name)
