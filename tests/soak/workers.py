"""The service of the soak: workers that run jobs, and the truth about what they were told and what they said."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

from toolhouse_async.testing import WorkersEmulator

AGENT = "worker"


class Service:
    """An emulator with a worker that starts as many jobs, one after another, as the message says.

    Attributes:
        accepted: How often each message was accepted.
        resumed: How many resumes were accepted after it.
        twice: Messages and resumes that were accepted more than once.
    """

    def __init__(self, random: Random) -> None:
        self.emulator = WorkersEmulator(keep_runs=1_000_000, keep_requests=100)
        self.emulator.worker(AGENT)(self._worker)
        self.accepted: Counter[str] = Counter()
        self.resumed: Counter[str] = Counter()
        self.twice: list[str] = []
        self._random = random
        self._plans: dict[str, tuple[str, int, int]] = {}  # of each run: the message, its jobs, those begun

    async def _worker(self, ctx: Any) -> Any:
        random = self._random
        if ctx.message:
            self.accepted[ctx.message] += 1
            if self.accepted[ctx.message] > 1:
                self.twice.append(ctx.message)
            words, jobs, done = ctx.message, int(ctx.message.rpartition(" ")[2]), 0
        else:
            words, jobs, done = self._plans.get(ctx.run_id, ("", 0, 0))
            self.resumed[words] += 1
            if ctx.job_result is None:
                self.twice.append(f"a resume after {words}")
        if done < jobs:
            self._plans[ctx.run_id] = (words, jobs, done + 1)
            yield ctx.background(asyncio.sleep, random.uniform(0.5, 12), "done")
        else:
            self._plans.pop(ctx.run_id, None)
        pieces = part(words, done)
        for number, piece in enumerate(pieces):
            if random.random() < 0.3:
                await asyncio.sleep(random.uniform(0, 2))
            if number == 1 and random.random() < 0.3:
                call = ctx.tool_call("search", {"query": words})
                yield call
                yield ctx.tool_result(call, "found")
            yield ctx.text(piece)

    def told(self, run_id: str, words: str) -> str:
        """What the history of a run has as the answer to a message of the user's."""
        run = self.emulator.find_run(AGENT, run_id)
        assert run is not None
        said, found = [], False
        for entry in run.known():
            if entry["role"] == "user" and entry["content"]:
                found = entry["content"] == words
            elif found and entry["role"] == "assistant":
                said.append(entry["content"])
        return "".join(said)


def part(words: str, round_: int) -> list[str]:
    """What is said to a message in one of its rounds."""
    return [f"({words}/{round_}) ", *(f"word {n} " for n in range(1 + hash_of(words, round_) % 6)), "end\N{BULLET}\n"]


def hash_of(words: str, round_: int) -> int:
    """A number that depends on nothing but its arguments."""
    return sum(words.encode()) * 31 + round_ * 7


def answer_to(words: str) -> str:
    """All that is said to a message, jobs and resumes included."""
    return "".join("".join(part(words, round_)) for round_ in range(int(words.rpartition(" ")[2]) + 1))
