"""Conversations cut here and there, on services that are what the explorer's service is not; on real connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define, field

from tests.conversations.support import AGENT, KEY
from tests.support.proxy import Cut, Proxy
from tests.support.virtual_time import CoarseTimeLoop
from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy, ToolhouseError
from toolhouse_async.testing import WorkersEmulator

SAID = ["compute", "", "plain", "plain"]
"""All that a conversation says; the second is the resume, and the same words come twice."""
TURNS = [("compute", 0), ("plain", 2), ("plain", 3)]
"""The user's messages and their places in ``SAID``."""
ANSWERS = ["Wörking, please wait. It was job 1.", "Plain words, number 3.", "Plain words, number 4."]

SWITCHES: dict[str, dict[str, Any]] = {
    "later": {"history_delay": 40.0},
    "too late": {"history_delay": 1000.0},
    "late without empty messages": {"history_delay": 40.0, "history_empty_messages": False},
    "stops": {"on_disconnect": "stop"},
    "stops and keeps": {"on_disconnect": "stop", "history_partial": True},
    "no words beside a job": {"job_answer_body": False},
    "empty polls": {"job_poll_body": "empty"},
    "polls of an object": {"job_poll_body": "object"},
    "job header later": {"job_header_lag": 3},
    "new run ids": {"rotate_run_id": True},
    "new run ids, late": {"rotate_run_id": True, "history_delay": 20.0},
    "an end marker": {"ndjson_end": {"type": "done"}},
}
CUTS = range(180, 2600, 61)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@define
class Conversation:
    """Three turns on a service of its own, cut once."""

    switches: dict[str, Any]
    cut: Cut | None = None
    family: str = "ndjson"
    heard: list[str] = field(factory=list)
    texts: list[str] = field(factory=list)
    spoken: str = ""
    error: ToolhouseError | None = None

    async def worker(self, ctx: Any) -> Any:
        self.heard.append(ctx.message)
        if ctx.message == "compute":
            yield ctx.background(asyncio.sleep, 25, "job 1")
            words = ["Wörking, ", "please wait. "]
        elif not ctx.message:
            words = ["It was ", f"{ctx.job_result}."]
        else:
            words = ["Plain words, ", f"number {len(self.heard)}."]
        yield ctx.tool_call("look", {"at": ctx.message})
        for each in words:
            self.spoken += each
            yield ctx.text(each)
            await asyncio.sleep(2)

    async def run(self) -> Conversation:
        emulator = WorkersEmulator(**self.switches)
        emulator.worker(AGENT)(self.worker)
        async with (
            emulator.serve() as server,
            Proxy(server.url, cut=self.cut) as proxy,
            AsyncToolhouse(
                KEY,
                base_url=proxy.url,
                polling=PollingPolicy(jitter=0),
                recovery=RecoveryPolicy(quiet=6, deadline=90, absence=6),
            ) as toolhouse,
        ):
            session = toolhouse.session(AGENT)
            try:
                for message, _ in TURNS:
                    self.texts.append((await session.send(message, format=self.family)).text)
            except ToolhouseError as error:
                self.error = error
            assert len(server.accepted) == len(self.heard)
        return self

    def check(self) -> None:
        """Every message was accepted at most once, every text is right, and an error tells the truth."""
        assert self.heard == SAID[: len(self.heard)], self
        if self.error is None:
            assert len(self.texts) == len(TURNS)
            return
        accepted = len(self.heard) > TURNS[len(self.texts)][1]
        assert self.error.safe_to_retry is not accepted, (self, self.error)


@pytest.mark.parametrize("name", SWITCHES)
async def test_no_wrong_text_is_a_success(name: str) -> None:
    """Right is what comes without a cut, and what the worker said (less, where a lost connection stops it)."""
    plain = await Conversation(SWITCHES[name]).run()
    plain.check()
    assert plain.error is None
    assert plain.texts == ANSWERS or name == "no words beside a job"
    cases = [
        Conversation(SWITCHES[name], Cut(at, ("fin", "rst")[n % 2]), ("ndjson", "text")[n // 2 % 2])
        for n, at in enumerate(CUTS)
    ]
    await asyncio.gather(*(case.run() for case in cases))
    for case in cases:
        case.check()
        for got, *right in zip(case.texts, plain.texts[: len(case.texts)], ANSWERS[: len(case.texts)], strict=True):
            kept = name == "stops and keeps" and case.spoken.startswith(got)
            assert got in right or kept or (name == "stops" and right[0].endswith(got)), case


@pytest.mark.parametrize("at", [290, 330, 360])
@pytest.mark.parametrize("name", ["later", "too late", "late without empty messages", "stops"])
async def test_a_late_history_of_the_cut_round_before_a_job(name: str, at: int) -> None:
    """The job is over before the history has any of the words that came before it."""
    case = await Conversation(SWITCHES[name], Cut(at)).run()
    case.check()
    stopped = [["It was job 1."]] if name == "stops" else []  # the history has no words before it, and never will
    assert case.texts[:1] in ([], ANSWERS[:1], *stopped), case
