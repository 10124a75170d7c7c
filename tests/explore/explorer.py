"""Plays a program against every sequence of choices within a budget of faults."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from .choices import Choices
from .loop import Deadlock, TimerLoop
from .programs import Program
from .scene import Scene
from .switches import Switches
from .truth import Violation
from .world import Stuck, World

PASSES = 12
"""Passes of the loop in which what was cancelled may end."""


@define
class Found:
    """A violation: the shortest run that shows it.

    Attributes:
        kind: Which rule is broken.
        detail: What was said, and the truth.
        script: What went wrong in that run, in order; what distinguishes it from others of its kind.
        story: The same to read.
        requests: What the service was asked.
        times: How many runs show it.
    """

    kind: str
    detail: str
    script: tuple[str, ...]
    story: str
    requests: list[str]
    times: int = 1


@define
class Report:
    """What an exploration came to.

    Attributes:
        runs: How many runs were played.
        seconds: How long that took.
        is_complete: Whether those were all.
        outcomes: How often a program came to each of its outcomes.
        found: The distinct violations, shortest scripts first.
    """

    runs: int = 0
    seconds: float = 0.0
    is_complete: bool = True
    outcomes: Counter[str] = field(factory=Counter[str])
    found: list[Found] = field(factory=list[Found])

    @property
    def violations(self) -> int:
        """How many runs have one."""
        return sum(each.times for each in self.found)

    def add(self, new: Found) -> None:
        """Add a violation, unless a shorter script of its kind is part of this one."""
        for each in self.found:
            if each.kind == new.kind and _is_part(each.script, new.script):
                each.times += 1
                return
        for each in [old for old in self.found if old.kind == new.kind and _is_part(new.script, old.script)]:
            new.times += each.times
            self.found.remove(each)
        self.found.append(new)
        self.found.sort(key=lambda each: (len(each.script), each.kind))


def _is_part(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    rest = iter(long)
    return all(each in rest for each in short)


def explore(
    program: Program, *, faults: int, jobs: int, switches: Switches | None = None, seconds: float | None = None
) -> Report:
    """Play every run of a program.

    Args:
        program: What the user does.
        faults: The most faults in one run.
        jobs: The most jobs that a message may start.
        switches: How the service is.
        seconds: When to leave off, ``None`` for the end.
    """
    report = Report()
    choices = Choices(faults)
    began = time.monotonic()
    with _no_collector():
        while True:
            choices.begin()
            play(program, choices, switches or Switches(), jobs, report)
            report.runs += 1
            report.seconds = time.monotonic() - began
            if report.runs % 500 == 0:
                gc.collect()
            if not choices.next():
                return report
            if seconds is not None and report.seconds > seconds:
                report.is_complete = False
                return report


def play(program: Program, choices: Choices, switches: Switches, jobs: int, report: Report) -> None:
    """Play one run, and add what it comes to."""
    loop = TimerLoop()
    scene = Scene(World(choices, loop.time, switches, jobs))
    violations: list[Violation] = scene.judge.noted
    try:
        loop.run_until_complete(_whole(program, scene))
        if left := _let_end(loop):
            violations.append(Violation("a task is left", repr(left)))
        else:
            report.outcomes[", ".join(scene.told)] += 1
    except Violation as violation:
        violations.append(violation)
    except Deadlock as error:
        violations.append(Violation("somebody waits for ever", str(error)))
    except Stuck as error:
        violations.append(Violation("requests without end", str(error)))
    except Exception as error:  # noqa: BLE001 - the client may raise what it must not
        violations.append(Violation(f"an unexpected {type(error).__name__}", str(error)))
    finally:
        loop.on_pass = None
        _end(loop)
    for each in violations:
        report.add(Found(each.kind, each.detail, choices.script, choices.story, list(scene.world.requests)))


async def _whole(program: Program, scene: Scene) -> None:
    """A program, to the end of its client's life."""
    try:
        await program(scene)
        scene.judge.is_clean()
    finally:
        await scene.client.aclose()


def _let_end(loop: TimerLoop) -> set[asyncio.Task[object]]:
    """The tasks that do not end by themselves."""
    for _ in range(PASSES):
        if not asyncio.all_tasks(loop):
            return set()
        loop.run_until_complete(asyncio.sleep(0))
    return asyncio.all_tasks(loop)


def _end(loop: TimerLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    for _ in range(PASSES):
        if not asyncio.all_tasks(loop):
            break
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@contextmanager
def _no_collector() -> Iterator[None]:
    """Collect garbage now and then instead of all the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
