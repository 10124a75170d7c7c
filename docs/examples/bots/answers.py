"""An answer on its way into a chat: in messages that are edited as words come, at the pace that the platform asks."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection
from enum import Enum
from typing import Any

from splitting import is_visible, split, utf16

log = logging.getLogger("bot")

Tasks = Collection[asyncio.Task[None]]

NOTHING = "That is done. There is nothing to add."
REFUSED = "I cannot show this part of my answer here."
"""What stands for words that a platform refuses."""
ATTEMPTS = 3
"""How often in a row a platform may refuse a message for what is in it."""
PATIENCE = 3600.0
"""Seconds for which most answers wait for a platform that takes nothing."""
LONGEST_PAUSE = 60.0
"""Seconds between tries, at most, where the platform does not say how long."""
LAST_CALL = 3.0
"""Seconds that the platform has to hear that nobody types any more."""


class Refusal(Enum):
    """What it means that a platform did not take a message or an edit."""

    LATER = "it may be taken later, and perhaps it was taken: nobody knows"
    NO_NEWS = "the message says that already"
    NEVER = "this will not be taken, whenever it is tried"
    NOBODY = "the chat is gone, or the bot was thrown out of it"


class ChatGoneError(Exception):
    """There is nobody who could read what is to be shown."""


class Chat(ABC):
    """A place where people read answers: each platform has its own.

    Attributes:
        limit: The length of its longest message.
        pause: Seconds between two messages or edits, as the platform asks.
        scope: Where that pause counts: chats of the same scope share it.
        typing_lasts: Seconds that :meth:`typing` shows.
        failures: All that the platform's library raises where the platform is away, refuses, or does not answer.
            Anything else counts as an error of the bot's own, by which an answer is given up.
    """

    limit: int
    pause: float
    scope: str
    typing_lasts: float
    failures: tuple[type[Exception], ...]

    def cost(self, character: str) -> int:
        """What a character counts for in the length of a message."""
        return utf16(character)

    def refusal(self, error: Exception) -> Refusal:
        """What one of ``failures`` means."""
        return Refusal.LATER

    def asked_for(self, error: Exception) -> float | None:
        """For how many seconds the platform asks to be left alone, if it does."""
        seconds: float | None = getattr(error, "retry_after", None)
        return seconds

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
        self.hold(moment + self._pause - loop.time())
        await asyncio.sleep(moment - loop.time())

    def hold(self, seconds: float) -> None:
        """Let nobody call for a while."""
        loop = asyncio.get_running_loop()
        self._next = max(self._next, loop.time() + seconds)
        loop.call_at(self._next, self._rest)

    def _rest(self) -> None:
        """Nothing: what is to be called is kept until then, and :class:`Conversations` finds this pace again."""


class Answer:
    """An answer that is shown in a chat while it grows: in messages that are edited as words come.

    Args:
        chat: Where it is shown.
        pace: When that may be.
        name: What the log calls it: the key of its conversation.
        order: The open answers of its conversation, this one among them: each says nothing but a notice until those
            before it have left the list.

    Attributes:
        stage: What its turn is doing.
        is_whole: Whether its turn is over.
        is_given_up: Whether the platform does not take it.
        is_unread: Whether that is since nobody is there to read it.
        patience: Seconds for which it waits for a platform that takes nothing.
    """

    def __init__(self, chat: Chat, pace: Pace, name: str, order: "list[Answer] | None" = None) -> None:
        self.stage = "waiting"
        self.is_whole = self.is_given_up = self.is_unread = False
        self.patience = PATIENCE
        self._chat = chat
        self._pace = pace
        self._name = name
        self._order = [self] if order is None else order
        self._texts = [""]  # each begins a message
        self._split: list[tuple[str, list[str]]] = []  # each as it was last cut
        self._refused: set[str] = set()  # pieces for which another text stands
        self._last = "notice"  # what the last of them is: notice, words, or said
        self._notices = [""]  # all that it had
        self._shown: list[tuple[Any, str]] = []  # messages and what they say
        self._changed = asyncio.Event()
        self._is_over = False
        self._news = asyncio.Event()  # something more is shown, or all is given up
        self._is_replaced = False  # the message that would be edited is gone: a new one takes its place
        self._failures = 0  # in a row …
        self._refusals = 0  # … of them those that will never be taken
        self._failing_since = 0.0

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
        """Add a message of its own; one in which nobody sees anything says that."""
        self._put(text if is_visible(text) else NOTHING, "said")

    def notice(self, text: str) -> None:
        """Add a message whose place the next one takes."""
        self._notices.append(text)
        self._put(text, "notice")

    def begin(self) -> None:
        """Let the worker's next words begin a message of their own."""
        if self._last == "words":
            self._last = "said"

    def end(self) -> None:
        """Let :meth:`show` end once all is shown."""
        if self._last == "notice" or not is_visible(self._texts[-1]):
            self.say(NOTHING)
        self._is_over = True
        self._changed.set()

    def go_on(self) -> None:
        """Look again whether it is the first of its conversation."""
        self._changed.set()
        self._news.set()

    def give_place(self) -> tuple[Any, str] | None:
        """Give up the message that shows a notice, if there is one; it is posted again further down."""
        if not self._shown or self._shown[-1][1] not in self._notices:
            return None
        self._changed.set()
        return self._shown.pop()

    async def show(self) -> None:
        """Show it, and what is added meanwhile, until its end."""
        try:
            await self._show()
        except Exception:
            log.exception("%s: an error of the bot's own", self._name)
            self.is_given_up = True
            self._news.set()

    async def shown(self) -> None:
        """Wait until all that was added is shown, or given up; but not for a notice alone."""
        while not self.is_given_up and self._texts != self._notices[-1:]:
            if self._is_first and self._change() is None:
                return
            self._news.clear()
            await self._news.wait()

    async def _show(self) -> None:
        while not (self._is_over and self._is_first and self._change() is None) and not self.is_given_up:
            await self._changed.wait()
            self._changed.clear()
            while self._change() is not None and not self.is_given_up:
                await self._pace()
                await self._show_next()
                self._news.set()

    def _put(self, text: str, kind: str) -> None:
        if self._last == "notice":
            self._texts[-1] = text
        else:
            self._texts.append(text)
        self._last = kind
        self._changed.set()

    @property
    def _is_first(self) -> bool:
        return self._order[0] is self

    def _change(self) -> tuple[int, str] | None:
        """The first message that does not say yet what it should, and may."""
        if not self._is_first and self._texts != self._notices[-1:]:
            return None
        for number, text in enumerate(self._texts):
            if number == len(self._split) or self._split[number][0] != text:
                self._split[number : number + 1] = [(text, split(text, self._chat.limit, self._chat.cost))]
        pieces = [REFUSED if piece in self._refused else piece for _, pieces in self._split for piece in pieces]
        for number, piece in enumerate(pieces):
            if number == len(self._shown) or self._shown[number][1] != piece:
                return number, piece
        return None

    async def _show_next(self) -> None:
        change = self._change()  # words may have come while we waited
        if change is None:
            return
        number, piece = change
        if number == len(self._shown) and self._take_place():
            await self._show_next()
            return
        edits = number < len(self._shown) and not self._is_replaced
        try:
            if edits:
                message = self._shown[number][0]
                await self._chat.edit(message, piece)
            else:
                message = await self._chat.post(piece)
        except self._chat.failures as error:
            refusal = self._chat.refusal(error)
            if not edits or refusal is not Refusal.NO_NEWS:  # else an earlier try was taken, and its answer lost
                self._fail(error, refusal, piece, edits=edits)
                return
        self._failures = self._refusals = 0
        self._is_replaced = False
        self._shown[number : number + 1] = [(message, piece)]

    def _take_place(self) -> bool:
        """Take the place of the next notice below, if there is one: a new message would stand below that."""
        for later in self._order[self._order.index(self) + 1 :]:
            if (place := later.give_place()) is not None:
                self._shown.append(place)
                return True
        return False

    def _fail(self, error: Exception, refusal: Refusal, piece: str, *, edits: bool) -> None:
        """Decide how to go on with what was not taken: never by a second message where the first may be there."""
        now = asyncio.get_running_loop().time()
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        log.warning("%s: a message was not taken, %d times: %s", self._name, self._failures, error)
        if refusal is Refusal.NEVER and edits:
            self._is_replaced = True
            return
        self._refusals += refusal is Refusal.NEVER
        self.is_unread = refusal is Refusal.NOBODY
        if self._refusals == ATTEMPTS and piece != REFUSED:  # what comes behind it may be taken
            log.warning("%s: a part of the answer is refused for good, and not shown", self._name)
            self._refused.add(piece)
            self._failures = self._refusals = 0
            return
        self.is_given_up = self.is_unread or self._refusals == ATTEMPTS or now - self._failing_since > self.patience
        if self.is_given_up:
            log.warning("%s: the rest of the answer is given up", self._name)
        asked = self._chat.asked_for(error)
        self._pace.hold(min(2.0**self._failures, LONGEST_PAUSE) if asked is None else asked)


async def finish(answer: Answer) -> None:
    """Show an answer that is complete.

    Raises:
        ChatGoneError: Nobody is there to read it.
        ConnectionError: The platform does not take it.
    """
    answer.end()
    await answer.show()
    if answer.is_unread:
        raise ChatGoneError("nobody is there to read the answer")
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
            async with asyncio.timeout(LAST_CALL):
                await chat.typing(False)
        except (*chat.failures, TimeoutError) as error:
            log.info("%s: typing may still be shown: %s", chat.scope, error)


async def cancelled(tasks: Tasks) -> None:
    """Cancel tasks, and wait until they have ended."""
    tasks = set(tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
