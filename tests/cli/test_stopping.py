"""Signals that come twice."""

from __future__ import annotations

import asyncio
import signal

from toolhouse_async._cli.stopping import without_repeats


async def test_a_signal_that_is_sent_twice_at_once_is_one() -> None:
    heard: list[str] = []
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, without_repeats(heard.append), number.name)
    try:
        for pause in (0.0, 0.5, 0.5, 2.0):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(pause)
        assert heard == ["SIGTERM", "SIGTERM"]
        signal.raise_signal(signal.SIGINT)  # another one is another
        await asyncio.sleep(0.1)
        assert heard == ["SIGTERM", "SIGTERM", "SIGINT"]
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
