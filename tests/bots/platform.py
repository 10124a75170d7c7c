"""What the loopback platforms have in common: who sees what, and when the bot called."""

from __future__ import annotations

import asyncio
import json as plain_json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from attrs import frozen

from toolhouse_async import SessionManager

PATIENCE = 900.0
"""Virtual seconds that something may take."""
LOOK = 1.0
"""Virtual seconds between looks for what does not come by a call of the bot's."""


@frozen
class Call:
    """A call of the bot's: when, which, for whom, and what it said."""

    time: float
    method: str
    user: str
    text: str


class Platform(ABC):
    """A chat platform on this machine, as the bot's library sees it and as its users do.

    Attributes:
        label: What tests call it, if not by its name: where several bots talk to one platform.
        calls: What the bot called, in order.
        is_cut: Whether the bot's calls do not get through.
        refusals: How many of the next messages and edits are refused, and how.
        gone_users: Who cannot be written to any more.
        is_silent: Whether the platform answers no call.
        unanswered: How many messages and edits it has left without an answer for that.
        losses: How many of the next messages and edits are taken, with the answer lost.
        listed: The commands that the platform lists for the bot.
        takes_lists: Whether it takes a list of commands.
    """

    name: str
    label: str = ""
    limit: int
    key: str

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.url = ""
        self.calls: list[Call] = []
        self.is_cut = False
        self.refusals: list[web.Response] = []
        self.losses = 0
        self.gone_users: set[str] = set()
        self.is_silent = False
        self.unanswered = 0
        self.listed: dict[str, str] = {}
        self.takes_lists = True
        self._written: dict[str, str] = {}
        self._news = asyncio.Event()
        self._screens: dict[str, dict[str, str]] = {}
        self._number = 100

    # As its users see it

    @abstractmethod
    async def say(self, user: str, text: str) -> None:
        """Send the bot a message."""

    @abstractmethod
    async def show(self, user: str, words: str = "") -> None:
        """Send the bot a picture, with words beside it."""

    @abstractmethod
    async def command(self, user: str, name: str) -> None:
        """Give the bot a command in the way that the platform has for it."""

    def screen(self, user: str) -> list[str]:
        """The bot's messages that this user sees."""
        return list(self._screens.get(user, {}).values())

    def written(self, user: str) -> list[str]:
        """What the bot wrote for these messages."""
        return [self._written[number] for number in self._screens.get(user, {})]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something to be so."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not is_so():
            if loop.time() > deadline:
                pytest.fail(f"it never came to that; the screens are {self._screens}", pytrace=False)
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK)

    async def sees(self, user: str, *texts: str) -> None:
        """Wait until a user sees these messages, each given by its beginning, and no others."""

        def is_so() -> bool:
            screen = self.screen(user)
            return len(screen) == len(texts) and all(map(str.startswith, screen, texts))

        await self.until(is_so)

    def times(self, user: str, *methods: str) -> list[float]:
        """When the bot called one of these methods for a user."""
        return [call.time for call in self.calls if call.user == user and call.method in methods]

    # As the bot does

    @abstractmethod
    async def hears(self) -> None:
        """Wait until the bot hears what users say."""

    @abstractmethod
    async def serve(self, manager: SessionManager) -> None:
        """Run the bot."""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """The platform's API."""

    @abstractmethod
    def check_pace(self) -> None:
        """Check that the bot kept to the limits of the platform."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve the platform's API within the block."""
        app = web.Application()
        app.add_routes(self.routes())
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    def called(self, method: str, user: str, text: str = "") -> None:
        """Note a call."""
        self._news.set()
        self.calls.append(Call(asyncio.get_running_loop().time(), method, user, text))

    @abstractmethod
    def nobody(self) -> web.Response:
        """The refusal of a message to a chat that is gone."""

    async def refusal(self, user: str) -> web.Response | None:
        """How the next message or edit is refused, if it is."""
        self.unanswered += self.is_silent
        while self.is_silent:
            await asyncio.sleep(LOOK)
        if user in self.gone_users:
            return self.nobody()
        if self.is_cut:
            return web.Response(status=400, text="cut")
        return self.refusals.pop(0) if self.refusals else None

    def answered(self, request: web.Request, answer: web.Response) -> web.Response:
        """The answer to a message or an edit that was taken, unless it is lost."""
        if self.losses:
            self.losses -= 1
            assert request.transport is not None
            request.transport.abort()
        return answer

    def shown(self, user: str, text: str, number: str | None = None, written: str | None = None) -> str:
        """Put a message on the screen, or change one; return its number. ``written`` is what the bot wrote for it."""
        if number is None:
            self._number += 1
            number = str(self._number)
        assert text.strip(), "no platform takes an empty message"
        assert len(text) <= self.limit, "the message is too long"
        self._screens.setdefault(user, {})[number] = text
        self._written[number] = text if written is None else written
        self._news.set()
        return number

    def text_of(self, number: str) -> str | None:
        """What a message says."""
        return next((screen[number] for screen in self._screens.values() if number in screen), None)

    def user_of(self, number: str) -> str | None:
        """Who sees a message."""
        return next((user for user, screen in self._screens.items() if number in screen), None)


def most_within(times: list[float], seconds: float) -> int:
    """The most calls that were made within so many seconds."""
    return max((sum(0 <= other - time < seconds - 0.01 for other in times) for time in times), default=0)


def json(value: Any, status: int = 200, **headers: str) -> web.Response:
    """An answer in JSON."""
    body = plain_json.dumps(value).encode()
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **headers})
