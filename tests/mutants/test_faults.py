"""The table of faults fits the code and the tests; ``nox -s faults`` brings the faults back."""

from __future__ import annotations

from pathlib import Path

from .faults import FAULTS

ROOT = Path(__file__).parents[2]


def test_each_fault_has_its_place_and_its_test() -> None:
    for fault in FAULTS:
        code = (ROOT / fault.path).read_text("utf-8")
        assert code.count(fault.old) == 1, fault.what
        path, _, test = fault.test.partition("::")
        assert f"def {test}(" in (ROOT / "tests" / path).read_text("utf-8"), fault.what
    assert len({fault.what for fault in FAULTS}) == len(FAULTS)
