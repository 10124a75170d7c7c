"""What happens when clients start, in a fresh process: ``python -m tests.benchmarks.start``.

It prints how many TLS contexts were built, how many of them while an event loop was running, and the longest step of
the event loop in which clients were made and tried to connect, in milliseconds.
"""

from __future__ import annotations

import asyncio
import ssl

import orjson

from .steps import timed_steps

built: list[bool] = []
"""For each time that trusted certificates were loaded, whether an event loop was running."""
_load = ssl.SSLContext.load_default_certs


def _counted(context: ssl.SSLContext, *arguments: object) -> None:
    built.append(asyncio._get_running_loop() is not None)
    _load(context, *arguments)


async def start(clients: int) -> None:
    """Make clients, each of which tries to connect to where nobody listens, by TLS."""
    from toolhouse_async import AsyncToolhouse, NotSentError, RetryPolicy

    for _ in range(clients):
        async with AsyncToolhouse(
            "key", base_url="https://127.0.0.1:1", retries=RetryPolicy(max_attempts=1)
        ) as toolhouse:
            try:
                await toolhouse.run("agent", "x")
            except NotSentError:
                continue
            raise AssertionError("somebody listens at port 1")


def main() -> None:
    """The command."""
    ssl.SSLContext.load_default_certs = _counted
    import toolhouse_async

    assert toolhouse_async
    with timed_steps() as steps:
        asyncio.run(start(1))
        first = max(steps)
        steps.clear()
        asyncio.run(start(10))
    figures = {"contexts": len(built), "on_loop": sum(built), "first": first * 1e3, "later": max(steps) * 1e3}
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
