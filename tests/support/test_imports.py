from __future__ import annotations

from graphlib import CycleError
from pathlib import Path

import pytest

from tests.support.imports import Import, check_acyclic, read_imports


def package_of(folder: Path, **files: str) -> Path:
    for name, source in files.items():
        file = folder / "pack" / (name.replace("__", "/") + ".py" if name != "init" else "__init__.py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, "utf-8")
    return folder / "pack"


def test_every_form_of_import_is_read(tmp_path: Path) -> None:
    package = package_of(
        tmp_path,
        init="from .a import x",
        a="import os.path\nimport json as j\nfrom . import b\nfrom .sub import c as d\nfrom pack.b import y",
        b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a\nelse:\n    import time",
        d="try:\n    import q\nexcept ImportError:\n    import r\nmatch 1:\n    case 1:\n        with x: import s",
        sub__c="def f():\n    from .. import b\n    from ..a import x",
    )
    assert read_imports(package) == [
        Import("pack", "pack.a", "x"),
        Import("pack.a", "os.path", "os"),
        Import("pack.a", "json", "j"),
        Import("pack.a", "pack.b", "b"),
        Import("pack.a", "pack.sub.c", "d"),
        Import("pack.a", "pack.b", "y"),
        Import("pack.b", "typing", "TYPE_CHECKING"),
        Import("pack.b", "pack.a", "a", for_types_only=True),
        Import("pack.b", "time", "time"),
        Import("pack.d", "q", "q"),
        Import("pack.d", "r", "r"),
        Import("pack.d", "s", "s"),
        Import("pack.sub.c", "pack.b", "b"),
        Import("pack.sub.c", "pack.a", "x"),
    ]


def test_a_cycle_is_found_unless_it_is_for_types_only(tmp_path: Path) -> None:
    one = package_of(tmp_path / "1", a="from . import b", b="def f():\n    from .a import x")
    with pytest.raises(CycleError, match=r"pack\.a"):
        check_acyclic(read_imports(one), "pack")
    two = package_of(
        tmp_path / "2",
        a="from . import b",
        b="import typing\nif typing.TYPE_CHECKING:\n    from .a import x",
    )
    check_acyclic(read_imports(two), "pack")
