"""Bring the faults back, one at a time, and run the test that has to notice: ``python -m tests.mutants [words]``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
OPTIONS = ("-x", "-q", "-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout", "120")


def is_noticed(fault: Fault, copy: Path) -> bool:
    """Whether the test fails once the fault is back; it has to be there, and to run."""
    path = copy / fault.path
    before = path.read_text("utf-8")
    assert before.count(fault.old) == 1, f"not once in {fault.path}: {fault.old}"
    path.write_text(before.replace(fault.old, fault.new), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy)}  # for processes that tests start
    command = [sys.executable, "-m", "pytest", *OPTIONS, f"tests/{fault.test}"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, env=environment)
    path.write_text(before, "utf-8")
    if done.returncode not in (0, 1):
        print(done.stdout[-2000:])
    return done.returncode == 1


def main() -> int:
    """Try those whose words hold one of the arguments, or all; the exit status is 1 if one is not noticed."""
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or any(word in fault.what for word in sys.argv[1:])]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in (".ci", "docs", "tests", "toolhouse_async"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__", "_build"))
        for name in ("CHANGELOG.md", "README.md", "noxfile.py", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        for module in ("toolhouse_async_cli.py", "toolhouse_async_pytest.py"):
            shutil.copy(ROOT / module, folder)
        for fault in chosen:
            noticed = is_noticed(fault, Path(folder))
            unnoticed += not noticed
            print(f"{'noticed' if noticed else 'NOT NOTICED'}: {fault.what}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} faults are noticed")
    return bool(unnoticed)


if __name__ == "__main__":
    sys.exit(main())
