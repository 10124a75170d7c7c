"""The skills for coding agents: their form, the names in them, and old code beside what becomes of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from markdown_it import MarkdownIt

from tests import api
from toolhouse_async import AsyncToolhouse, OutcomeUnknownError, PollingPolicy
from toolhouse_async.testing import RunningEmulator
from toolhouse_async.testing.workers import echo

from .blocks import SKILLS, marked
from .setups import AGENT_ID, analyst

REAL_TIME = True  # requests blocks a thread, httpx brings helpers of its own, and the old loops wait by the clock
MIGRATION = "toolhouse_async/skills/migrate-to-toolhouse-async"
BLOCKS = [block for block in (*marked("before"), *marked("after")) if block.place.startswith(MIGRATION)]
CODE = {(block.kind, block.argument): block.code for block in BLOCKS}
EACH = pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.parent.name)

LISTING = api.listing()
PUBLIC = {line.partition(":")[0].removeprefix("toolhouse_async.") for line in LISTING}
NAMES = {each.rpartition(".")[2] for each in PUBLIC}
KEYWORDS = {name for line in LISTING for name in re.findall(r"(\w+)(?:: [^,=]+)? = ", line)}
KEYWORDS |= {name for line in LISTING for name in re.findall(r"(\w+): ", line.partition(" *, ")[2])}
KEYWORDS |= {each.rpartition(".")[2] for each in PUBLIC if each.startswith("TurnOptions.")}
VARIABLES = {
    "ctx": ["WorkerContext"],
    "error": sorted({each.split(".")[-1] for each in PUBLIC if each.endswith("Error")}),
    "result": ["TurnResult"],
    "session": ["Session"],
    "sessions": ["SessionManager"],
    "toolhouse": ["AsyncToolhouse"],
    "toolhouse_emulator": ["RunningEmulator"],
    "turn": ["Turn"],
}
"""What the skills call objects, and the classes of these: one of them has the attribute."""
OTHERS = {"BaseException", "HTTPError", "HTTPTransport", "Retry", "Semaphore", "Type", "True", "False", "None"}
"""Words in code that look like classes and are not ours, or are none."""
FUNCTIONS = {"anext", "ask", "main", "raise_for_status"}
"""Functions in code that are not ours."""


def code_in(skill: Path) -> list[str]:
    """The code between words; that of the blocks runs in any case."""
    tokens = MarkdownIt().parse(skill.read_text("utf-8"))
    return [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]


def front_matter(skill: Path) -> dict[str, str]:
    """The fields, each a plain scalar of YAML in a line: every parser reads those, simple ones too."""
    head = re.match(r"---\n((?:.+\n)+)---\n\n", skill.read_text("utf-8"))
    assert head is not None
    fields = [re.fullmatch(r"([a-z-]+): ([A-Za-z0-9](?:(?!: | #).)*[\w.])", line) for line in head[1].splitlines()]
    return {field[1]: field[2] for field in fields if field} if all(fields) else {}


def test_the_skills_are_there() -> None:
    assert [skill.parent.name for skill in SKILLS] == ["migrate-to-toolhouse-async", "toolhouse-async"]


@EACH
def test_the_front_matter_is_that_of_a_skill(skill: Path) -> None:
    fields = front_matter(skill)
    assert fields.keys() == {"name", "description", "license", "compatibility"}
    assert fields["name"] == skill.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fields["name"])
    assert len(fields["name"]) <= 64
    assert len(fields["description"]) <= 1024
    assert " Use when " in fields["description"]
    assert len(fields["compatibility"]) <= 500


@EACH
def test_a_skill_is_short(skill: Path) -> None:
    text = skill.read_text("utf-8")
    assert len(text.splitlines()) <= 255
    assert len(text) < 16_000  # some 4,000 tokens


def unknown_names(code: str) -> list[str]:
    """The names of ours in a piece of code that do not exist."""
    unknown = [name for name in re.findall(r"(?<![\w-])[A-Z]\w*[a-z]\w*(?![\w-])", code) if name not in NAMES | OTHERS]
    unknown += [name for name in re.findall(r"(?<![\w.])([a-z_]+)\(", code) if name not in NAMES | FUNCTIONS]
    unknown += [name for name in re.findall(r"\b([a-z_]+)=(?!=)", code) if name not in KEYWORDS | {"total"}]
    for variable, name in re.findall(r"\b([a-z_]+)\.([a-z_]+)", code):
        owners = VARIABLES.get(variable, [])
        if owners and not any(has(owner, name) for owner in owners):
            unknown.append(f"{variable}.{name}")
    return unknown


def has(owner: str, name: str) -> bool:
    """Whether objects of the class have it: a member, or what an error is made with."""
    made = next((line for line in LISTING if line.startswith(f"toolhouse_async.{owner}.__init__:")), "")
    is_member = any(f".{each}".endswith(f".{owner}.{name}") for each in PUBLIC)
    return is_member or (owner.endswith("Error") and re.search(rf"\b{name}:", made) is not None)


@EACH
def test_every_name_exists(skill: Path) -> None:
    code = code_in(skill)
    assert len(code) > 50
    assert [(each, unknown_names(each)) for each in code if unknown_names(each)] == []


@pytest.mark.parametrize(
    ("code", "unknown"),
    [
        ("session.send(message, timeout=3)", []),
        ("error.retry_after", []),
        ("session.sned(message)", ["session.sned"]),
        ("error.after", ["error.after"]),
        ("toolhouse.run(agent_id, timeuot=3)", ["timeuot"]),
        ("TurnResults", ["TurnResults"]),
        ("toolhouse_async.web.TurnHubs", ["TurnHubs"]),
        ("see(turn)", ["see"]),
    ],
)
def test_unknown_names_are_noticed(code: str, unknown: list[str]) -> None:
    assert unknown_names(code) == unknown


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new code keeps a store where it is."""
    monkeypatch.chdir(tmp_path)


def names_of(kind: str, what: str) -> dict[str, Any]:
    """What a block defines; the old pauses are milliseconds in place of seconds."""
    code = CODE[kind, what].replace("asyncio.sleep(3)", "asyncio.sleep(0.003)").replace("(1, 2, 4)", "(0, 0, 0)")
    names: dict[str, Any] = {}
    exec(compile(code, f"{kind}-{what}.py", "exec"), names)
    return names


async def say(kind: str, what: str, url: str, messages: list[str]) -> list[str]:
    """The answers that a program gives to messages, by the old code or the new."""
    names = names_of(kind, what)
    if kind == "after":
        async with AsyncToolhouse("", base_url=url, polling=PollingPolicy(min_interval=0.01)) as toolhouse:
            if what == "chats":
                said: list[str] = await names["serve"](toolhouse, AGENT_ID, [("ada", each) for each in messages])
                return said
            return [await names["ask"](toolhouse, AGENT_ID, each) for each in messages]
    if what == "retries":
        return [await asyncio.to_thread(names["ask"], url, "", AGENT_ID, each) for each in messages]
    if what == "lines":
        async with httpx.AsyncClient(base_url=url) as http:
            return [await names["ask"](http, AGENT_ID, each) for each in messages]
    async with aiohttp.ClientSession(url) as session:
        return [await names["reply"](session, AGENT_ID, "ada", each) for each in messages]


def test_each_pair_is_there() -> None:
    assert CODE.keys() == {(kind, what) for kind in ("before", "after") for what in ("retries", "lines", "chats")}


@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("what", ["retries", "chats"])
async def test_both_give_the_answers(kind: str, what: str, toolhouse_emulator: RunningEmulator) -> None:
    toolhouse_emulator.worker(AGENT_ID)(echo)
    assert await say(kind, what, toolhouse_emulator.url, ["Hello", "Goodbye"]) == ["Hello", "Goodbye"]


@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("fails", [False, True])
async def test_both_wait_for_a_job_and_one_is_misled_by_a_failed_poll(
    kind: str, fails: bool, toolhouse_emulator: RunningEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    toolhouse_emulator.worker(AGENT_ID)(analyst(0.05))
    if fails:
        toolhouse_emulator.faults.add(method="GET", status=502)
    rest = "" if fails and kind == "before" else "Done: 344 rows, 3 outliers."
    said = await say(kind, "lines", toolhouse_emulator.url, ["Analyze this CSV"])
    assert said == [f"I will work through it.{rest}"]
    assert capsys.readouterr().out == "[code_interpreter]\n"


@pytest.mark.parametrize(("what", "method"), [("retries", "POST"), ("chats", "PUT")])
async def test_the_old_code_says_twice_what_had_arrived(
    what: str, method: str, toolhouse_emulator: RunningEmulator
) -> None:
    toolhouse_emulator.worker(AGENT_ID)(echo)
    messages = ["Hello", "A table for two"] if method == "PUT" else ["A table for two"]
    for kind, times in (("before", 2), ("after", 1)):
        toolhouse_emulator.requests.clear()
        toolhouse_emulator.faults.add(method=method, cut="fin", accept=True)
        if kind == "before":
            await say(kind, what, toolhouse_emulator.url, messages)
        else:
            with pytest.raises(OutcomeUnknownError):
                await say(kind, what, toolhouse_emulator.url, messages)
        heard = [request.json()["message"] for request in toolhouse_emulator.accepted]
        assert heard.count("A table for two") == times


async def test_the_new_code_says_again_what_had_not_arrived(toolhouse_emulator: RunningEmulator) -> None:
    toolhouse_emulator.worker(AGENT_ID)(echo)
    toolhouse_emulator.faults.add(method="PUT", status=429, retry_after=0)
    said = await say("after", "chats", toolhouse_emulator.url, ["Hello", "A table for two"])
    assert said == ["Hello", "A table for two"]
    assert len(toolhouse_emulator.accepted) == 2


async def leaving_a_job(ctx: Any) -> AsyncIterator[Any]:
    """A worker that begins a job with its first answer."""
    if ctx.job_result is None and ctx.message == "Hello":
        yield ctx.background(asyncio.sleep, 0.05, "described")
    yield ctx.text(ctx.message or "again")


async def test_both_wait_while_the_run_takes_no_message(toolhouse_emulator: RunningEmulator) -> None:
    toolhouse_emulator.worker(AGENT_ID)(leaving_a_job)
    for kind in ("before", "after"):
        toolhouse_emulator.requests.clear()
        said = await say(kind, "chats", toolhouse_emulator.url, ["Hello", "Goodbye"])
        assert said == ["Hello" if kind == "before" else "Helloagain", "Goodbye"]
        assert (409 in [request.status for request in toolhouse_emulator.requests]) is (kind == "before")
