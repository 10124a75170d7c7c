"""The tables of the page: what is measured for a cell, and how the page writes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from .measure import advice, after_a_kill, cancelling, fate, joining, reading, sending, waiting
from .program import Program
from .service import AWAY, NGINX, SENT, refusal

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "compared.md"

Measure: TypeAlias = Callable[[Program], Awaitable[str]]
Rows: TypeAlias = dict[str, Measure]


def sent(fault: str | bytes) -> Measure:
    """How often a message is accepted, and the error."""

    async def measure(program: Program) -> str:
        accepted, error, _ = await sending(program, fault)
        return fate(accepted, error)

    return measure


async def advised(program: Program) -> str:
    """What the error says of sending again where the answer was lost."""
    _, error, _ = await sending(program, "lost")
    assert error is not None
    return advice(error)


def read(fault: str) -> Measure:
    """What is read of an answer that breaks off, by a quick reader and by a slow one."""

    async def measure(program: Program) -> str:
        quick, slow = [await reading(program, fault, pause) for pause in (0.0, 10.0)]
        if str(quick) == str(slow):
            return str(quick)
        assert type(quick.error) is type(slow.error)
        return f"{quick}; to a slow reader {slow.received} of {SENT}"

    return measure


async def killed(program: Program) -> str:
    """What a new process has of an answer that another one was reading when it was killed."""
    if not program.answer_again_by:
        return program.otherwise
    return f"`{program.answer_again_by}`: {await after_a_kill(program)}"


async def waited(program: Program) -> str:
    """What waits for a job."""
    assert await waiting(program) == "the outcome"
    return f"`{program.waits_by}`" + ", in a loop of yours" * program.loops


async def waited_in_trouble(program: Program) -> str:
    """What is made of single questions after a job that fail."""
    return await waiting(program, polls=["lost", refusal(503)])


async def waited_long(program: Program) -> str:
    """What is made of a service that is away while the job runs."""
    return await waiting(program, away=AWAY)


async def joined(program: Program) -> str:
    """What brings the outcome to another process."""
    assert await joining(program) == "the outcome"
    return f"`{program.job_again_by}`"


TABLES: dict[str, Rows] = {
    "The message": {
        "lost: the connection ends before any answer": sent("lost"),
        "what the error says then of sending again": advised,
        "500": sent(refusal(500)),
        "503, in JSON": sent(refusal(503)),
        "503, a page of nginx": sent(refusal(503, NGINX)),
        "409": sent(refusal(409)),
    },
    "The answer": {
        "FIN in the middle of a chunk": read("fin"),
        "FIN behind a chunk, without the last one": read("unfinished"),
        "RST": read("rst"),
        "FIN, where nothing but the connection's end frames the answer": read("close"),
        "HTTP's own end, without the service's": read("clean"),
    },
    "Afterwards": {
        "killed in mid-answer: a new process has": killed,
        "what waits for a job": waited,
        "one question after it is lost, the next gets 503": waited_in_trouble,
        "the service is away (503) for 30 s of it": waited_long,
        "another process has the outcome by": joined,
        "cancelled in mid-stream: the connection is": cancelling,
    },
}
"""By the first word or words of the head: what is measured for each row, for every client."""


def again_by(call: str) -> Measure:
    """What a new process has by another call."""

    async def measure(program: Program) -> str:
        return f"`{call}`: {await after_a_kill(program)}"

    return measure


SETTINGS: list[tuple[str, str, dict[str, object], str, Measure]] = [
    ("toolhouse-async", "`settle=True`", {"settle": True}, "HTTP's own end, without the service's", read("clean")),
    ("toolhouse-async", "`recover=False`", {"recover": False}, "RST", read("rst")),
    ("openai", "`max_retries=0`", {"max_retries": 0}, "lost", sent("lost")),
    ("openai", "`max_retries=0`", {"max_retries": 0}, "503, in JSON", sent(refusal(503))),
    (
        "openai",
        "`responses.stream(…)` and `get_final_response()`",
        {"final": True},
        "HTTP's own end, without the service's",
        read("clean"),
    ),
    (
        "openai",
        "`background=True`",
        {"background": True},
        "killed in mid-answer",
        again_by("responses.retrieve(id, stream=True, starting_after=…)"),
    ),
    ("anthropic", "`max_retries=0`", {"max_retries": 0}, "lost", sent("lost")),
    ("langgraph-sdk", "`stream_resumable=True`", {"stream_resumable": True}, "RST", read("rst")),
    (
        "langgraph-sdk",
        "`stream_resumable=True`",
        {"stream_resumable": True},
        "HTTP's own end, without the service's",
        read("clean"),
    ),
    (
        "langgraph-sdk",
        "`stream_resumable=True`",
        {"stream_resumable": True},
        "killed in mid-answer",
        again_by("runs.join_stream(…, last_event_id=…)"),
    ),
    ("fal-client", "`stream(…)` instead of `run(…)`", {"stream": True}, "lost", sent("lost")),
    ("azure-core", "no `AsyncRetryPolicy`", {"retry_policy": None}, "503, in JSON", sent(refusal(503))),
    ("azure-core", "the message is a PUT", {"method": "PUT"}, "lost", sent("lost")),
    (
        "azure-core",
        "the message is a PUT, no `AsyncRetryPolicy`",
        {"method": "PUT", "retry_policy": None},
        "lost",
        sent("lost"),
    ),
]
"""Rows of the table of settings: the client, the setting in words and as given, the moment, what is measured."""


def written(head: str) -> dict[str, list[str]]:
    """The table on the page whose head begins so: the cells of each row, by the first."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows: dict[str, list[str]] = {}
    for line in (lines[start], *lines[start + 2 :]):
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
        rows[first] = cells
    return rows


def shown(package: str) -> str:
    """A package's name as the page writes it: ours by what is imported."""
    return f"`{package.replace('toolhouse-async', 'toolhouse_async')}`"
