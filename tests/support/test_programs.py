"""Programs that are forked from one are as those that are started alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .programs import Done, run_programs

PROGRAMS = [
    "import atexit; atexit.register(print, 'bye'); print(json.dumps('hi'))",
    "print('no', file=sys.stderr); sys.exit(3)",
    "raise ValueError('x')",
]


@pytest.mark.parametrize("is_forked", [True, False])
def test_each_has_an_end_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_forked: bool) -> None:
    if not is_forked:
        monkeypatch.delattr(os, "fork", raising=False)
    first, second, third = run_programs("import json, sys", PROGRAMS, tmp_path)
    assert first == Done(0, '"hi"\nbye\n', "")
    assert second == Done(3, "", "no\n")
    assert (third.returncode, third.stdout) == (1, "")
    assert third.stderr.endswith("ValueError: x\n")


def test_a_beginning_that_fails_is_told(tmp_path: Path) -> None:
    if hasattr(os, "fork"):
        with pytest.raises(AssertionError, match="no_such_module"):
            run_programs("import no_such_module", PROGRAMS, tmp_path)
