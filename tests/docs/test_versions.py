"""The list of published versions of the documentation."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from .blocks import ROOT


@pytest.fixture(scope="module")
def versions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_versions", ROOT / "docs/versions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("names", "ordered", "latest"),
    [
        (["1.0.0rc1"], ["1.0.0rc1"], "1.0.0rc1"),
        (["1.0.0rc2", "1.0.0", "1.0.0rc10"], ["1.0.0", "1.0.0rc10", "1.0.0rc2"], "1.0.0"),
        (["1.9.0", "1.10.0", "2.0.0rc1", ".git", "_static"], ["2.0.0rc1", "1.10.0", "1.9.0"], "1.10.0"),
    ],
)
def test_versions_are_in_order(versions: ModuleType, names: list[str], ordered: list[str], latest: str) -> None:
    assert versions.newest_first(names) == ordered
    assert versions.latest(ordered) == latest


def test_what_is_written(versions: ModuleType, tmp_path: Path) -> None:
    for name in ("1.0.0", "1.1.0rc1", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "1.2.0").write_text("a file")
    versions.write(tmp_path)
    listed = json.loads((tmp_path / "versions.json").read_text("utf-8"))
    assert listed == [
        {"version": "1.1.0rc1", "url": "1.1.0rc1/", "latest": False},
        {"version": "1.0.0", "url": "1.0.0/", "latest": True},
    ]
    page = (tmp_path / "versions.html").read_text("utf-8")
    assert page.index('<a href="1.1.0rc1/index.html">') < page.index('<a href="1.0.0/index.html">1.0.0</a> (latest)')
    assert 'content="0; url=1.0.0/index.html"' in (tmp_path / "index.html").read_text("utf-8")


def test_a_folder_without_versions_is_refused(versions: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no version"):
        versions.write(tmp_path)
