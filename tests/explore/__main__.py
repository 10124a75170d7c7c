"""``python -m tests.explore PROGRAM FAULTS JOBS [switch=value …] [seconds=60]``.

Plays programs (or ``all``), commas between them, with no fault, with one, and so on to FAULTS, side by side, and
prints a line for each bound and every distinct violation as a short script.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from attrs import fields

from .explorer import Report, explore
from .programs import PROGRAMS
from .switches import Switches


def switches_of(words: list[str]) -> tuple[Switches, float | None]:
    """The switches, and the seconds that each bound may take."""
    given: dict[str, Any] = {}
    seconds = None
    defaults = {each.name: each.default for each in fields(Switches)}
    for word in words:
        name, _, value = word.partition("=")
        if name == "seconds":
            seconds = float(value)
        elif isinstance(defaults[name], bool):
            given[name] = value in ("true", "yes", "1", "")
        else:
            given[name] = int(value) if isinstance(defaults[name], int) else value
    return Switches(**given), seconds


def print_report(title: str, report: Report, *, outcomes: bool) -> None:
    """Print what an exploration came to."""
    unfinished = "" if report.is_complete else ", NOT COMPLETE"
    print(
        f"{title}: {report.runs} runs, {report.seconds:.1f} s{unfinished}, {report.violations} violations", flush=True
    )
    if outcomes:
        for told, times in report.outcomes.most_common(12):
            print(f"    {times:7} {told}")
    for each in report.found:
        print(f"  ! {each.kind} (in {each.times} runs)\n      {each.story}\n      {each.detail[:400]}")
        print(f"      {' '.join(each.requests)}", flush=True)


def without_logs() -> None:
    """Keep the client from making what nobody reads."""
    logging.disable(logging.CRITICAL)


def _play(bound: tuple[str, int], *, jobs: int, switches: Switches, seconds: float | None) -> Report:
    program, faults = bound
    return explore(PROGRAMS[program], faults=faults, jobs=jobs, switches=switches, seconds=seconds)


def main(words: list[str]) -> int:
    """Explore; the exit status says whether there was a violation."""
    name, faults, jobs, *rest = words
    switches, seconds = switches_of([word for word in rest if word != "outcomes"])
    names = PROGRAMS if name == "all" else name.split(",")
    bounds = [(program, most) for program in names for most in range(int(faults) + 1)]
    play = partial(_play, jobs=int(jobs), switches=switches, seconds=seconds)
    failed = False
    with ProcessPoolExecutor(initializer=without_logs) as pool:
        for (program, most), report in zip(bounds, pool.map(play, bounds), strict=True):
            print_report(f"{program} faults<={most} jobs<={jobs}", report, outcomes="outcomes" in rest)
            failed = failed or bool(report.found)
    return 1 if failed else 0


if __name__ == "__main__":
    without_logs()
    sys.exit(main(sys.argv[1:]))
