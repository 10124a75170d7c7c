"""An answer on its way into a chat: in messages that are edited as words come, at the pace that the platform asks."""

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any

from splitting import split, utf16

log = logging.getLogger("bot")

NOTHING = "That is done. There is nothing to add."
ATTEMPTS = 5
"""How often in a row a platform may refuse what we want to show."""


class Chat(ABC):
    """A place where people read answers: each platform has its own.

    Attributes:
        limit: The length of its longest message.
        pause: Seconds between two messages or edits, as the platform asks.
        scope: Where that pause counts: chats of the same scope share it.
        typing_lasts: Seconds that :meth:`typing` shows.
        failures: What the platform's library raises.
    """

    limit: int
    pause: float
    scope: str
    typing_lasts: float
    failures: tuple[type[Exception], ...]

    def cost(self, character: str) -> int:
        """What a character counts for in the length of a message."""
        return utf16(character)

    @abstractmethod
    async def post(self, text: str) -> Any:
        """Post a message; return what :meth:`edit` needs to know of it."""

    @abstractmethod
    async def edit(self, message: Any, text: str) -> None:
        """Change a message."""

    @abstractmethod
    async def typing(self, is_on: bool) -> None:
        """Show that an answer is being written, or no longer."""


class Pace:
    """Calls a certain time apart, whoever makes them."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._next = 0.0

    async def __call__(self) -> None:
        """Wait for the next free moment."""
        loop = asyncio.get_running_loop()
        moment = max(loop.time(), self._next)
        self._next = moment + self._pause
        loop.call_at(self._next, self._rest)
        await asyncio.sleep(moment - loop.time())

    def _rest(self) -> None:
        """Nothing: what is to be called is kept until then, and :class:`Conversations` finds this pace again."""


class Answer:
    """An answer that is shown in a chat while it grows: in messages that are edited as words come.

    Attributes:
        stage: What its turn is doing.
        is_given_up: Whether the platform does not take it.
    """

    def __init__(self, chat: Chat, pace: Pace) -> None:
        self.stage = "waiting"
        self.is_given_up = False
        self._chat = chat
        self._pace = pace
        self._texts = [""]  # each begins a message
        self._last = "notice"  # what the last of them is: notice, words, or said
        self._shown: list[tuple[Any, str]] = []  # messages and what they say
        self._changed = asyncio.Event()
        self._is_over = False
        self._failures = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self._texts == [""]

    def add(self, words: str) -> None:
        """Add words of the worker's."""
        if self._last == "words":
            self._texts[-1] += words
            self._changed.set()
        else:
            self._put(words, "words")

    def say(self, text: str) -> None:
        """Add a message of its own."""
        self._put(text, "said")

    def notice(self, text: str) -> None:
        """Add a message whose place the next one takes."""
        self._put(text, "notice")

    def end(self) -> None:
        """Let :meth:`show` end once all is shown."""
        if self._last == "notice":
            self.say(NOTHING)
        self._is_over = True
        self._changed.set()

    async def show(self) -> None:
        """Show it, and what is added meanwhile, until its end."""
        while not (self._is_over and self._change() is None) and not self.is_given_up:
            await self._changed.wait()
            self._changed.clear()
            while self._change() is not None and not self.is_given_up:
                await self._pace()
                await self._show_next()

    def _put(self, text: str, kind: str) -> None:
        if self._last == "notice":
            self._texts[-1] = text
        else:
            self._texts.append(text)
        self._last = kind
        self._changed.set()

    def _change(self) -> tuple[int, str] | None:
        """The first message that does not say yet what it should."""
        pieces = [piece for text in self._texts for piece in split(text, self._chat.limit, self._chat.cost)]
        for number, piece in enumerate(pieces):
            if number == len(self._shown) or self._shown[number][1] != piece:
                return number, piece
        return None

    async def _show_next(self) -> None:
        change = self._change()  # words may have come while we waited
        if change is None:
            return
        number, piece = change
        try:
            if number < len(self._shown) and self._failures < 2:
                await self._chat.edit(self._shown[number][0], piece)
                message = self._shown[number][0]
            else:  # a new one, or one that is gone
                message = await self._chat.post(piece)
        except self._chat.failures as error:
            self._failures += 1
            self.is_given_up = self._failures == ATTEMPTS
            log.warning("%s: a message was not taken, %d times: %s", self._chat.scope, self._failures, error)
            if not self.is_given_up:
                await asyncio.sleep(getattr(error, "retry_after", 2**self._failures))
        else:
            self._failures = 0
            self._shown[number : number + 1] = [(message, piece)]


async def finish(answer: Answer) -> None:
    """Show an answer that is complete.

    Raises:
        ConnectionError: The platform does not take it.
    """
    answer.end()
    await answer.show()
    if answer.is_given_up:
        raise ConnectionError("the answer could not be shown")


async def keep_typing(chat: Chat) -> None:
    """Show that an answer is being written, until cancelled."""
    try:
        while True:
            try:
                await chat.typing(True)
            except chat.failures as error:
                log.info("%s: typing was not shown: %s", chat.scope, error)
            await asyncio.sleep(0.8 * chat.typing_lasts)
    finally:
        try:
            await chat.typing(False)
        except chat.failures as error:
            log.info("%s: typing may still be shown: %s", chat.scope, error)
