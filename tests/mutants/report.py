"""What became of the mutants: a table of the modules, and those that live though nobody has accepted that.

Run where ``mutmut`` has run, with the names of the mutants that are asked about: ``python -m tests.mutants.report
'toolhouse_async._turn.*'``.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ACCEPTED = Path(__file__).with_name("accepted.txt")
"""Mutants that may live, one a line: its function, what it changes, and the reason, with a bar between."""
PACKAGE = "toolhouse_async."
BY_TESTS, BY_TYPES = ("killed", "timeout"), "caught by type check"
COLUMNS = ("tests", "types", "wording", "accepted", "new")
PROSE = re.compile(r'f?"(?:[^"\\]|\\.)*[ :;.]+(?:[^"\\]|\\.)*"')
BOUND = re.compile(r"\[:100[01]\]")
CASELESS = re.compile(r'\b(?:getall|encode|decode)\("[^"]*"')
"""Where a header or an encoding is named, in any case."""


class Mutant(NamedTuple):
    """One change of the code."""

    name: str
    """As ``mutmut`` calls it: the number in it changes with the code."""
    module: str
    state: str

    @property
    def function(self) -> str:
        """Where it is; the same whatever else changes."""
        name = self.name.rpartition("__mutmut_")[0].removeprefix(PACKAGE)
        module, _, function = name.rpartition(".")
        return f"{module}.{function.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def read_mutants(patterns: list[str]) -> Iterator[Mutant]:
    """All that the tool has made, and what became of them."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    for meta in sorted(Path("mutants", "toolhouse_async").rglob("*.meta")):
        path = meta.relative_to("mutants").with_suffix("")
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            if any(fnmatch(name, pattern) for pattern in patterns):
                module = ".".join(path.with_suffix("").parts[1:])
                yield Mutant(name, module, status_by_exit_code[code])


def change_of(mutant: Mutant) -> tuple[str, str]:
    """The lines that it takes out, and those that stand there in their place."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    path = Path(*(PACKAGE + mutant.module).split(".")).with_suffix(".py")
    lines = [line for line in get_diff_for_mutant(mutant.name, path=path).splitlines()[2:] if line[:1] in "+-"]
    old, new = ([line[1:].strip() for line in lines if line[0] == sign] for sign in "-+")
    return " ".join(old), " ".join(new)


def is_wording(old: str, new: str) -> bool:
    """Whether only words are others: of a message, to whose sense alone tests hold, or of a name in any case."""
    return _sense(old) == _sense(new)


def _sense(code: str) -> str:
    return CASELESS.sub(lambda found: found[0].lower(), BOUND.sub("", PROSE.sub("", code)))


def read_accepted() -> dict[str, str]:
    """The mutants that may live, with the reason."""
    accepted: dict[str, str] = {}
    for line in ACCEPTED.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            mutant, _, reason = line.rpartition(" | ")
            assert mutant, f"without a reason: {line}"
            accepted[mutant] = reason
    return accepted


def main() -> int:
    """Print the table; the exit status is 1 if a mutant lives that nobody has accepted."""
    patterns, accepted = sys.argv[1:], read_accepted()
    counts: dict[str, Counter[str]] = {}
    lived: set[str] = set()
    new: list[str] = []
    for mutant in read_mutants(patterns):
        count = counts.setdefault(mutant.module, Counter())
        if mutant.state in BY_TESTS:
            count["tests"] += 1
        elif mutant.state == BY_TYPES:
            count["types"] += 1
        elif is_wording(*(change := change_of(mutant))):
            count["wording"] += 1
        elif (line := f"{mutant.function} | {' -> '.join(change)}") in accepted:
            lived.add(line)
            count["accepted"] += 1
        else:
            count["new"] += 1
            new.append(f"{line} | {mutant.state}")
    print(f"{'module':<24}{'mutants':>9}" + "".join(f"{name:>10}" for name in COLUMNS) + f"{'killed':>10}")
    for module, count in [*counts.items(), ("all of them", sum(counts.values(), Counter()))]:
        killed = (count["tests"] + count["types"]) / max(count.total(), 1)
        numbers = "".join(f"{count[name]:>10}" for name in COLUMNS)
        print(f"{module:<24}{count.total():>9}{numbers}{killed:>10.1%}")
    for line in sorted(set(accepted) - lived):
        if any(fnmatch(PACKAGE + line, pattern) for pattern in patterns):
            print(f"accepted, and killed by now: {line}")
    for line in new:
        print(f"lives: {line}")
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())
