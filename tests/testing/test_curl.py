"""The documents' commands against the emulator, run by real bash and real curl."""

from __future__ import annotations

import asyncio
import json
import re
import threading

import pytest

from toolhouse_async.testing import RunningEmulator

from .documents import CALLING, CONTINUING, KEY, POLLING, STARTING, bash


@pytest.fixture(autouse=True)
def _key(toolhouse_emulator: RunningEmulator) -> None:
    toolhouse_emulator.api_key = KEY

    @toolhouse_emulator.worker("helper")
    async def helper(ctx):
        if ctx.message is None:
            yield ctx.text("¿Sobre qué tema te gustaría hablar hoy?")
        else:
            yield ctx.text(f"On it: {ctx.message}")


def test_calling_a_worker(toolhouse_emulator: RunningEmulator) -> None:
    printed = bash(toolhouse_emulator.url, CALLING)
    assert "On it: Book at meeting over lunch with Jessica." in printed
    request = toolhouse_emulator.requests[0]
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")


def test_continuing_an_interaction(toolhouse_emulator: RunningEmulator) -> None:
    printed = bash(toolhouse_emulator.url, STARTING)
    assert "On it: Find discounts" in printed
    run_id = re.search(r"(?im)^< x-toolhouse-run-id: (\S+)", printed)
    assert run_id
    printed = bash(toolhouse_emulator.url, CONTINUING, RUN_ID=run_id[1])
    assert "On it: thank you, now find" in printed


def test_statefulness(toolhouse_emulator: RunningEmulator) -> None:
    toolhouse_emulator.history_start_without_message = "Hola"
    printed = bash(
        toolhouse_emulator.url,
        'curl -H "Authorization: Bearer $API_KEY" -v -XPOST https://agents.toolhouse.ai/$AGENT_ID',
    )
    assert "¿Sobre qué tema te gustaría hablar hoy?" in printed
    run_id = re.search(r"(?im)^< x-toolhouse-run-id: (\S+)", printed)
    assert run_id
    printed = bash(
        toolhouse_emulator.url,
        """
curl -H "Authorization: Bearer $API_KEY" -XPUT https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID \\
  --json '{ "message": "no sé, puedes escoger tu un tema para esta conversación?" }'
""",
        RUN_ID=run_id[1],
    )
    assert "On it: no sé, puedes" in printed
    history = bash(
        toolhouse_emulator.url,
        'curl -s -H "Authorization: Bearer $API_KEY" https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID',
        RUN_ID=run_id[1],
    )
    assert [(entry["role"], entry["content"]) for entry in json.loads(history)] == [
        ("user", "Hola"),
        ("assistant", "¿Sobre qué tema te gustaría hablar hoy?"),
        ("user", "no sé, puedes escoger tu un tema para esta conversación?"),
        ("assistant", "On it: no sé, puedes escoger tu un tema para esta conversación?"),
    ]


def test_polling_until_a_job_completes(toolhouse_emulator: RunningEmulator) -> None:
    polls_seen = threading.Event()

    async def analyze() -> str:
        while sum(request.method == "HEAD" for request in toolhouse_emulator.requests) < 2:
            await asyncio.sleep(0)
        polls_seen.set()
        return "2 outliers"

    @toolhouse_emulator.worker("analyst")
    async def analyst(ctx):
        if ctx.job_result is None:
            yield ctx.background(analyze)
        else:
            yield ctx.text(f"Found {ctx.job_result}.")

    printed = bash(toolhouse_emulator.url, POLLING, "analyst")
    assert polls_seen.is_set()
    assert re.search(r"(?m)^Job [0-9a-f-]{36} in progress, waiting\.\.\.$", printed)
    assert "Job complete, resuming..." in printed
    assert "Found 2 outliers." in printed
    assert [request.method for request in toolhouse_emulator.accepted] == ["POST", "PUT"]


def test_resuming_by_hand(toolhouse_emulator: RunningEmulator) -> None:
    started, ended = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        ended.wait()

    @toolhouse_emulator.worker("analyst")
    async def analyst(ctx):
        if ctx.message == "start":
            yield ctx.background(work)
        yield ctx.text(f"said: {ctx.message}")

    start = bash(
        toolhouse_emulator.url,
        """
curl -s -D - -XPOST https://agents.toolhouse.ai/ndjson/$AGENT_ID \\
  -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
  --json '{"message": "start"}'
""",
        agent="analyst",
    )
    assert '{"type":"text","text":"said: start"}' in start
    run_id = re.search(r"(?im)^x-toolhouse-run-id: (\S+)", start)
    job_id = re.search(r"(?im)^x-toolhouse-job-id: (\S+)", start)
    assert run_id
    assert job_id
    resume = """
curl -s -D - -XPUT https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID \\
  -H 'Authorization: Bearer YOUR_TOOLHOUSE_API_KEY' \\
  --json '{"message": "continue"}'
"""
    started.wait()
    assert " 409 Conflict" in bash(toolhouse_emulator.url, resume, agent="analyst", RUN_ID=run_id[1])
    ended.set()
    bash(
        toolhouse_emulator.url,
        """
until ! curl -sI -H "Authorization: Bearer $API_KEY" https://agents.toolhouse.ai/$AGENT_ID/$RUN_ID \\
  | grep -qi x-toolhouse-job-id; do :; done
""",
        agent="analyst",
        RUN_ID=run_id[1],
    )
    assert "said: continue" in bash(toolhouse_emulator.url, resume, agent="analyst", RUN_ID=run_id[1])
