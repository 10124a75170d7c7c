from __future__ import annotations

import json

import pytest

from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .conftest import Client


@pytest.mark.parametrize("message", ["one two  three", " padded ", "", "   ", "line\nbreak\t!", "é 👍"])
async def test_echo_says_the_message_word_by_word(emulator: WorkersEmulator, client: Client, message: str) -> None:
    emulator.worker("echo")(echo)
    answer = await client.ask("POST", "/ndjson/echo", json={"message": message})
    words = [json.loads(line)["text"] for line in answer.body.splitlines()]
    assert "".join(words) == message
    assert len(words) >= len(message.split())
    assert (await client.start(message, "echo")).text == message


async def test_echo_greets(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("echo")(echo)
    assert (await client.start(agent="echo")).text.startswith("Hello!")
