from pathlib import Path

import pytest

from .postgres_server import find_postgres


def programs(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).touch(0o755)
    return folder


def test_the_newest_of_debians_versions_is_taken(tmp_path):
    for version in ("9.6", "15", "17"):
        programs(tmp_path / version / "bin")
    assert find_postgres({"PATH": ""}, tmp_path) == tmp_path / "17" / "bin"


def test_what_is_on_the_path_is_found(tmp_path):
    folder = programs(tmp_path / "elsewhere")
    assert find_postgres({"PATH": str(folder)}, tmp_path / "none") == folder


def test_without_it_tests_are_skipped_but_fail_in_ci(tmp_path):
    with pytest.raises(pytest.skip.Exception, match="postgresql"):
        find_postgres({"PATH": str(tmp_path)}, tmp_path)
    with pytest.raises(pytest.fail.Exception, match="postgresql"):
        find_postgres({"PATH": str(tmp_path), "CI": "true"}, tmp_path)
