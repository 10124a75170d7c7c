"""The explorer itself: it plays every run once, it reports what is wrong, and what must be clean is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from toolhouse_async import (
    JobStarted,
    NotSentError,
    OutcomeUnknownError,
    ServerError,
    StreamInterruptedError,
    TextDelta,
    ToolhouseError,
    TurnResult,
)

from .__main__ import main, switches_of
from .choices import Choices
from .explorer import explore
from .loop import Deadlock, TimerLoop
from .programs import PROGRAMS
from .scene import Scene
from .seam import client_of
from .switches import Switches
from .truth import Judge, Sending, Violation
from .world import AGENT, Lost, NotSent, Reply, World

FORMS = (
    "",
    "empty=no",
    "recorded=at-end",
    "shape=call",
    "shape=call+result",
    "shape=silent",
    "shape=words",
    "spacing=yes",
    "tool_role=user",
    "tools=no",
)
"""Services whose history is understood."""
CLEAN = [
    # One look that lags hides a job in mid-stream that nothing in the answer told of.
    *(("second", int(form != "shape=silent"), 1, form) for form in FORMS if form),
    *((program, 0, 1, form) for program in ("first", "same-words", "settled", "unhealed") for form in FORMS),
    *((program, 1, 1, "") for program in ("first", "same-words", "settled", "unhealed", "detached", "wordless")),
    *((program, 1, 1, "") for program in ("looking", "troubled")),
    *((program, 0, 1, "") for program in ("asking-cancelled", "three-times", "cancelled", "closed-by-another")),
    *((program, 0, 1, "") for program in ("asked-again", "queued-out-of-time")),
    *((program, 0, 1, "window=3") for program in ("second", "settled", "straight", "two-bad")),
    *(("second", 1, 0, form) for form in ("stored=trimmed", "stored=lf", "window=2", "window=3")),
]
"""Programs, faults, jobs and switches that are played whole and show nothing wrong.

What the session ``explore`` plays with no fewer faults and jobs is not among them.
"""


def runs_of(faults: int, run: Callable[[Choices], None]) -> list[str]:
    choices, told = Choices(faults), []
    while True:
        choices.begin()
        run(choices)
        told.append(" ".join(each.name for each in choices.made))
        if not choices.next():
            return told


def tree(choices: Choices) -> None:
    if choices.pick("first", ("a", 0), ("b", 1), ("c", 0)) == "c":
        choices.pick("second", ("x", 0), ("y", 1))
    choices.pick("third", ("p", 0), ("q", 1))


def test_each_sequence_within_the_budget_is_played_once() -> None:
    assert runs_of(0, tree) == ["a p", "c x p"]
    assert sorted(runs_of(1, tree)) == ["a p", "a q", "b p", "c x p", "c x q", "c y p"]
    assert sorted(runs_of(2, tree)) == sorted([*runs_of(1, tree), "b q", "c y q"])
    assert runs_of(3, tree) == runs_of(2, tree)


def test_a_story_tells_what_went_another_way() -> None:
    choices = Choices(1)
    choices.begin()
    tree(choices)
    assert choices.story == "nothing went wrong"
    assert choices.next()
    choices.begin()
    tree(choices)
    assert choices.story == "third ×1: q"
    assert choices.script == ("third: q",)


def test_the_clock_jumps_and_a_deadlock_is_told() -> None:
    loop = TimerLoop()
    try:
        begin = loop.time()
        loop.run_until_complete(asyncio.sleep(1000))
        assert loop.time() == pytest.approx(begin + 1000)
        waiting = loop.create_future()
        with pytest.raises(Deadlock, match="ever will be"):
            loop.run_until_complete(waiting)
        with pytest.raises(Deadlock, match="still waits"):
            loop.run_until_complete(asyncio.sleep(10_000))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


async def blind(scene: Scene) -> None:
    """Sends again what may have arrived."""
    sending = scene.judge.sends("a")
    try:
        await scene.client.run(AGENT, "a")
    except OutcomeUnknownError:
        scene.world.calm = True
        await scene.client.run(AGENT, "a")
    except ToolhouseError as error:
        sending.error = error
    scene.judge.is_over(sending)


async def impatient(scene: Scene) -> None:
    """Resumes without a look whether there is a job."""
    await scene.send("a")
    scene.world.exchange("PUT", b'{"message": ""}')


async def endless(scene: Scene) -> None:
    await scene.send("a")
    await asyncio.get_running_loop().create_future()


async def careless(scene: Scene) -> None:
    task = asyncio.ensure_future(asyncio.sleep(1e9))
    scene.told.append(task.get_name())


async def busy(scene: Scene) -> None:
    while True:
        await scene.client.history(AGENT, (await scene.send("a")).result.run_id)  # type: ignore[union-attr, arg-type]


async def broken(scene: Scene) -> None:
    raise AssertionError("not an error of the library's")


async def open_ended(scene: Scene) -> None:
    scene.world.open += 1


@pytest.mark.parametrize(
    ("program", "faults", "kind"),
    [
        (blind, 1, "a message was accepted twice"),
        (impatient, 0, "a run was resumed that waited for nothing"),
        (endless, 0, "somebody waits for ever"),
        (careless, 0, "a task is left"),
        (busy, 0, "requests without end"),
        (broken, 0, "an unexpected AssertionError"),
        (open_ended, 0, "a connection is left open"),
    ],
)
def test_what_is_wrong_is_reported(program: Callable[[Scene], Awaitable[None]], faults: int, kind: str) -> None:
    if faults:
        assert not explore(program, faults=faults - 1, jobs=0).found
    report = explore(program, faults=faults, jobs=0)
    assert [each.kind for each in report.found] == [kind]
    assert report.violations <= report.runs


def test_of_a_violation_the_shortest_script_is_kept() -> None:
    report = explore(blind, faults=2, jobs=0)
    assert [each.script for each in report.found] == [("send: lost, accepted",)]
    assert report.found[0].times > 1
    assert report.is_complete
    assert not explore(blind, faults=2, jobs=0, seconds=0).is_complete


def told(choices: Choices, *, jobs: int = 0, how: str = "ok") -> tuple[Judge, Sending]:
    """A message that the service took, or never saw, and its sending."""
    choices.begin()
    world = World(choices, lambda: 1000.0, Switches(), jobs)
    judge = Judge(world)
    sending = judge.sends("a")
    world.calm = True
    if how == "ok":
        world.exchange("POST", b'{"message": "a"}')
    return judge, sending


def result(text: str) -> TurnResult:
    return TurnResult(AGENT, "r1", text)


@pytest.mark.parametrize(
    ("how", "outcome", "kind"),
    [
        ("ok", result("<a 1.0"), "success with another text"),
        ("never", result("<a 1.0>"), "success for a message that was not accepted"),
        ("ok", NotSentError("no"), "safe_to_retry is True"),
        ("ok", StreamInterruptedError("cut", partial=result("other")), "the partial text is not the beginning"),
    ],
)
def test_an_outcome_that_is_not_true_is_reported(how: str, outcome: TurnResult | ToolhouseError, kind: str) -> None:
    judge, sending = told(Choices(0), how=how)
    if isinstance(outcome, TurnResult):
        sending.result = outcome
    else:
        sending.error = outcome
    with pytest.raises(Violation, match=kind):
        judge.is_over(sending)


def test_events_that_do_not_add_up_are_reported() -> None:
    judge, sending = told(Choices(0))
    sending.result = result("<a 1.0>")
    sending.events.append(TextDelta("<a "))
    with pytest.raises(Violation, match="the events add up to another text"):
        judge.is_over(sending)


def test_what_was_accepted_and_said_not_to_be_is_noted() -> None:
    judge, sending = told(Choices(0), how="never")
    sending.error = OutcomeUnknownError("lost", safe_to_retry=False)
    judge.is_over(sending)
    assert [each.kind for each in judge.noted] == [
        "safe_to_retry is False, and the message was not accepted (OutcomeUnknownError)",
        "safe_to_retry is not True, and the message was never sent (OutcomeUnknownError)",
    ]


@pytest.mark.parametrize(
    ("job_id", "kinds"), [("j1", ["an error behind a job has no token (ServerError)"]), ("j0", [])]
)
def test_an_error_behind_a_job_that_was_told_of_has_a_token(job_id: str, kinds: list[str]) -> None:
    choices = Choices(0)
    choices.begin()
    world = World(choices, lambda: 1000.0, Switches(), 1)
    judge = Judge(world)
    sending = judge.sends("a")
    choices._prefix = [0, 1]  # the message is taken, and starts a job
    world.exchange("POST", b'{"message": "a"}')
    sending.events.append(JobStarted(job_id))
    sending.error = ServerError("failed", status=503, safe_to_retry=False)
    judge.is_over(sending)
    assert [each.kind for each in judge.noted] == kinds


@pytest.mark.parametrize(
    ("how", "found", "kind"),
    [
        ("ok", None, "says that the message is absent"),
        ("never", result("<a 1.0>"), "has an answer to a message that was not accepted"),
        ("ok", result("<a 1."), "with another text than the truth"),
        ("ok", OutcomeUnknownError("?"), "cannot tell"),
    ],
)
def test_what_reconcile_says_is_held_to_the_truth(how: str, found: Any, kind: str) -> None:
    judge, sending = told(Choices(0), how=how)
    sending.error = OutcomeUnknownError("lost")
    judge.is_over(sending)
    with pytest.raises(Violation, match=kind):
        judge.reconciled(found, "r1")


def test_what_reconcile_says_later_is_held_to_what_it_said_before() -> None:
    judge, _ = told(Choices(0))
    arrived = StreamInterruptedError("it arrived", safe_to_retry=False)
    before: Any
    after: Any
    for before, after in [(result("a"), None), (None, result("a")), (result("a"), arrived), (arrived, None)]:
        judge.noted.clear()
        judge.is_consistent(before, after)
        assert len(judge.noted) == 1, (before, after)
    judge.noted.clear()
    for before, after in [(None, None), (result("a"), result("a")), (arrived, arrived), (OutcomeUnknownError(), None)]:
        judge.is_consistent(before, after)
    assert not judge.noted


def reading(world: World) -> list[Any]:
    return json.loads(world.exchange("GET", None).pieces[0])  # type: ignore[no-any-return]


def test_the_world_takes_a_message_and_its_resume() -> None:
    choices = Choices(0)
    choices.begin()
    world = World(choices, lambda: 1000.0, Switches(), 1)
    choices._prefix = [0, 1]  # the message is taken, and starts a job
    answer = world.exchange("POST", b'{"message": "a"}')
    assert answer.headers["x-toolhouse-job-id"] == "j1"
    assert world.accepted[0].waits
    assert world.exchange("PUT", b'{"message": "b"}').status == 409
    world.calm = True
    while world.job is not None:
        reading(world)
    assert [entry["role"] for entry in reading(world)] == ["user", "assistant", "tool"]
    world.exchange("PUT", b'{"message": ""}')
    assert not world.accepted[0].waits
    assert world.accepted[0].text == "<a 1.0><a 1.1>"
    assert not world.strays


@pytest.mark.parametrize(
    ("switches", "roles"),
    [
        (Switches(), ["user", "assistant", "user", "assistant"]),
        (Switches(window=3), ["assistant", "user", "assistant"]),
        (Switches(recorded="at-end"), []),
    ],
)
def test_a_history_has_the_form_of_its_service(switches: Switches, roles: list[str]) -> None:
    choices = Choices(0)
    choices.begin()
    world = World(choices, lambda: 1000.0, switches, 0)
    world.calm = True
    world.exchange("POST", b'{"message": "a"}')
    answer = world.exchange("PUT", b'{"message": "b"}')
    assert [entry["role"] for entry in reading(world)] == roles
    assert take_all(answer) == b'{"type": "text", "text": "<b "}\n{"type": "text", "text": "2.0>"}\n'


@pytest.mark.parametrize(("stored", "text"), [("same", "a"), ("trimmed", "a"), ("lf", "a\nplease")])
def test_a_message_is_stored_in_another_form(stored: Any, text: str) -> None:
    choices = Choices(0)
    choices.begin()
    world = World(choices, lambda: 1000.0, Switches(stored=stored), 0)
    world.calm = True
    world.exchange("POST", json.dumps({"message": world.words("a")}).encode())
    assert reading(world)[0] == {"role": "user", "content": text}


def take_all(answer: Reply) -> bytes:
    parts = []
    while data := answer.take():
        parts.append(data)
    return b"".join(parts)


def test_the_adversary_loses_and_refuses() -> None:
    kinds: set[Any] = set()
    choices = Choices(1)
    while True:
        choices.begin()
        world = World(choices, lambda: 1000.0, Switches(), 0)
        try:
            kinds.add((world.exchange("POST", b'{"message": "a"}').status, len(world.accepted)))
        except (Lost, NotSent) as error:
            kinds.add((type(error), len(world.accepted)))
        if not choices.next():
            break
    assert kinds == {(200, 1), (503, 0), (503, 1), (429, 0), (Lost, 0), (Lost, 1), (NotSent, 0)}


def test_the_stand_in_brings_what_the_service_says() -> None:
    """A client of the world gets the whole of an answer."""

    async def program(scene: Scene) -> None:
        other = client_of(scene.world)
        assert (await other.run(AGENT, "a")).text == "<a 1.0>"
        scene.judge.sends("a")
        await other.aclose()

    report = explore(program, faults=0, jobs=0)
    assert (report.runs, report.found) == (1, [])


def test_the_command_prints_a_line_for_each_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["straight", "1", "0", "stored=lf", "outcomes"]) == 0
    printed = capsys.readouterr().out
    assert "straight faults<=0 jobs<=0: 1 runs" in printed
    assert "straight faults<=1 jobs<=0: 14 runs" in printed
    assert "0 violations" in printed


def test_switches_are_read_from_words() -> None:
    read = switches_of(["tools=no", "empty=yes", "window=3", "shape=call", "seconds=1.5"])
    assert read == (Switches(tools=False, window=3, shape="call"), 1.5)


@pytest.mark.parametrize(("program", "faults", "jobs", "switches"), CLEAN)
def test_what_must_be_clean_is(program: str, faults: int, jobs: int, switches: str) -> None:
    report = explore(PROGRAMS[program], faults=faults, jobs=jobs, switches=switches_of(switches.split())[0])
    assert report.is_complete
    assert not report.found, "\n".join(f"{each.kind}: {each.story}\n    {each.detail}" for each in report.found)
