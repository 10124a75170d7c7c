"""What the bots have in common: whose turn it is, what survives a restart, and what is said of failures."""

import asyncio
import logging
import math
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from answers import Answer, Chat, ChatGoneError, Pace, cancelled, finish, keep_typing
from commands import FRESH, NOT_FRESH, NOT_YET_FRESH, STOPPED

from toolhouse_async import (
    AuthenticationError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    ContactLostError,
    JobError,
    JobFinished,
    JobStarted,
    JobWaitTimeoutError,
    LeaseLostError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    Session,
    SessionManager,
    StoreError,
    StreamInterruptedError,
    StreamRecovered,
    TextDelta,
    ToolhouseError,
    TurnCompleted,
    TurnResult,
    TurnResumed,
    TurnStarted,
    WorkerError,
)

log = logging.getLogger("bot")

QUEUED = "⏳ I am still busy with what you said before. This one is next."
NOT_BEGUN = "⏳ This takes longer than usual: I have not begun with it yet."
SEEKING = "⏳ I did not hear whether this got through, and am finding out. That may take two minutes."
COMPUTING = "⏳ I am still computing. This may take some minutes; the answer will come here."
WHOLE = "My answer was cut off on its way. Here is all of it:"
LATE = "I was interrupted before. This is the answer to what you had said then:"
ARRIVED = (
    "I was interrupted before. What you had said then did get through, but its answer is missing. Ask me about it."
)
ABSENT = "I was interrupted, and an earlier message did not get through. If it has had no answer, please say it again."
AGAIN = "If you still want it, say it again; it may then be done twice."
LOST = (
    f"I was interrupted, and nobody can find out whether your earlier message got through. {AGAIN} "
    "We begin a new conversation."
)
HALTED = {
    LATE: "What you have stopped had got through: “{}”. This is the answer to it:",
    ARRIVED: "What you have stopped had got through: “{}”. Its answer is missing. Ask me about it.",
    ABSENT: "What you have stopped was not passed on: “{}”.",
    LOST: "Nobody can find out whether what you have stopped had got through: “{}”. It may be done, or not. "
    "We begin a new conversation.",
}
"""What is said in place of these words to whoever has stopped that message."""
FORGOTTEN = "I have lost our conversation, and remember nothing of what we said before. We begin a new one."
GONE = "I have lost our conversation, and the answer to this with it. What you say next begins a new one."
UNKNOWABLE = f"Nobody can find out whether this got through. {AGAIN}"
TAKEN_OVER = (
    "I was held up in the middle of this. If my answer is not here yet, it will come here, or when we talk next."
)
BROKEN = "Something is wrong with me. The people who run me have been told; please try again later."
CLOSING = {
    "waiting": "I am being restarted and have not passed this on. Please send it again in a minute.",
    "beginning": f"I am being restarted just now. {UNKNOWABLE}",
    "leaving": f"I am being restarted just now. {UNKNOWABLE}",
    "sending": "I am being restarted just now. Once I am back I will find out whether this got through, and tell you "
    "then or when we talk next.",
    "answering": "I am being restarted in the middle of my answer. It will come when we talk next.",
    "computing": "I am being restarted. The computation goes on, and I will bring its answer here.",
}
"""What is said to whoever is left when the bot stops, by what their turn was doing."""

WORDS: dict[type[ToolhouseError], str] = {
    ConfigurationError: BROKEN,
    AuthenticationError: BROKEN,
    PermissionDeniedError: BROKEN,
    NotFoundError: BROKEN,
    WorkerError: "Something went wrong while I was working on this. You can say it again, or in other words.",
    OutcomeUnknownError: "I cannot find out yet whether this got through. Please wait a minute before you repeat it.",
    StreamInterruptedError: "My answer broke off. What you said got through; I look for the rest when we talk next.",
    JobWaitTimeoutError: "I am still computing. This takes longer than most; the answer will come here.",
    ContactLostError: "I have lost sight of the computation. If it goes on, its answer will come here.",
    JobError: "I have lost sight of the computation. It may still be running: ask me about it later.",
}
UNKNOWN = {
    True: "I cannot reach my brain just now, and this did not get through. Please say it again in a minute.",
    False: "Something went wrong after this got through. Please ask me about it before you repeat it.",
    None: "Something went wrong, and I do not know whether this got through. Please wait a minute.",
}
"""What is said of any other error, by its ``safe_to_retry``."""

SPEAKING = ("beginning", "sending", "answering")
"""What turns are doing that may end before the bot stops; the first message of a conversation is not in any history."""

SOON = 5.0
"""Seconds that a message may wait before people are told."""
BRIEF = 15.0
"""Seconds in which an answer is looked for once more that did not come in `RecoveryPolicy.deadline`; to see that it is
whole takes ten (`RecoveryPolicy.quiet`)."""
LOOK_AGAIN = 60.0
"""Seconds between looks for what stopped processes have left, unless a lease ends before."""
LAST_WORDS = 5.0
"""Seconds in which people can be told that the bot stops, once that is so."""


def setting(name: str, what: str) -> str:
    """What the environment says; without it the bot does not start."""
    value = os.environ.get(name, "").strip()
    if not value:
        sys.exit(f"{name} is not set; set it to {what}")
    return value


def run(main: Callable[[], Coroutine[Any, Any, None]], *failures: type[Exception]) -> None:
    """Run a bot until it is stopped; what keeps it from starting is said in one line.

    Args:
        main: The bot.
        failures: What the platform's library raises where the platform is away, or does not take the token.
    """
    try:
        asyncio.run(main())
    except (ToolhouseError, *failures) as error:
        why = " ".join(str(error).split())  # Slack's has two lines
        sys.exit(f"The bot has stopped: {why or type(error).__name__}")


class Conversations:
    """The conversations of a bot: one for each key.

    Args:
        manager: What keeps them.
        find: Finds the chat of a key, for answers that come after a restart.
        beside: Other conversations on the same platform, whose limits these keep too: those of another worker.
    """

    def __init__(
        self, manager: SessionManager, find: Callable[[str], Awaitable[Chat]], beside: "Conversations | None" = None
    ) -> None:
        self._manager = manager
        self._find = find
        self._tasks: dict[asyncio.Task[None], Answer] = {}
        self._talks: dict[asyncio.Task[None], tuple[str, Answer, str]] = {}  # what may be stopped, and its message
        self._renewals: dict[Answer, str] = {}  # new conversations that are asked for, and what each begins with
        self._open: dict[str, list[Answer]] = {}  # what is not all shown, in order
        self._left: set[str] = set()  # keys with a job that a stopped process has left
        self._sought: set[str] = set()  # keys with a message of which a stopped process did not know what became
        self._aside: set[str] = set()  # keys of them whose chat is gone
        self._told: set[str] = set()  # keys of which it was said that an answer is missing, or that nobody knows
        self._missing: set[str] = set()  # keys with an answer that was looked for in vain
        self._stopped: set[str] = set()  # keys whose last message arrived, and nobody wants its answer
        self._halted: dict[str, str] = {}  # keys with a message that was stopped, and may have arrived
        self._seeking: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of keys
        self.paces: WeakValueDictionary[str, Pace] = beside.paces if beside else WeakValueDictionary()
        self._is_closing = False

    async def start(self) -> None:
        """Begin to look for what stopped processes have left."""
        self._seek(self._look())

    async def shown(self) -> None:
        """Wait until all that was heard is answered, and the answers are shown."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self, grace: float = 20) -> None:
        """Stop without losing a turn: let answers end for a while, leave jobs to the next start, tell the others."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        self._is_closing = True
        await cancelled(self._seeking)
        while (left := deadline - loop.time()) > 0:
            talking = [task for task, answer in self._tasks.items() if answer.stage in SPEAKING]
            if not talking:
                break
            await asyncio.wait(talking, timeout=min(left, 1), return_when=asyncio.FIRST_COMPLETED)
        await self._manager.aclose()  # ends the others, which say so in their chats
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        await cancelled(self._tasks)  # the platform does not take their words now

    def hear(self, key: str, chat: Chat, message: str) -> None:
        """Answer a message, in a task of its own: in order for each key, and keys do not wait for each other."""
        self._sought.discard(key)  # it is found out before this is said
        is_busy = key in self._open or key in self._left
        answer = self._queued(key, chat)
        if is_busy:
            answer.notice(QUEUED)
        self._begin(key, answer, lambda: self._talk(key, chat, message, answer), message)

    def renew(self, key: str, chat: Chat, message: str = "") -> None:
        """Stop what a key has under way, forget its conversation, and begin a new one: now if there is a message."""
        for of, stopped, _ in self._talks.values():
            if of == key and stopped.stage in ("beginning", "sending"):
                stopped.stage = "leaving"  # nobody looks for it in a conversation that is forgotten
        self.stop(key, chat)
        self._sought.discard(key)
        answer = self._queued(key, chat)
        if key in self._left:  # whoever waits for that job has the key
            answer.notice(NOT_YET_FRESH)
        self._renewals[answer] = message
        self._begin(key, answer, lambda: self._renew(key, chat, message, answer), message)

    def stop(self, key: str, chat: Chat) -> bool:
        """Stop what a key has under way, and what waits behind it; return whether there was anything.

        A new conversation that was asked for begins all the same, but what it was to begin with is not passed on.
        """
        is_busy = key in self._left
        stopped: dict[str, str] = {}  # messages, by what was done with them; those that wait are of no matter
        for talk, (of, answer, message) in self._talks.items():
            if of == key and not answer.is_whole:
                is_busy = True
                if answer in self._renewals:
                    self._renewals[answer] = ""
                elif talk.cancel():
                    stopped[answer.stage] = message
        if key in self._left or stopped.keys() & {"answering", "computing"}:  # the worker goes on all the same
            self._stopped.add(key)
        elif stopped.keys() & {"beginning", "sending"}:
            self._stopped.discard(key)
            self._told.discard(key)
            self._halted[key] = stopped.get("beginning", stopped.get("sending", ""))
            self._sought.add(key)
            self._seek(self._find_out(key))
        if key in self._left:
            self.say(chat, STOPPED["computing"])
        return is_busy

    def say(self, chat: Chat, text: str, *, after: float = 0.0, unless: Callable[[], bool] = lambda: False) -> None:
        """Post a message that is not of the worker's: after some seconds, unless something is so by then."""
        answer = self._new_answer(chat, chat.scope)
        self._keep(self._say(answer, text, after, unless), answer)

    async def _say(self, answer: Answer, text: str, after: float, unless: Callable[[], bool]) -> None:
        if after:
            await asyncio.sleep(after)
        if not unless():
            answer.say(text)
            answer.end()
            await answer.show()

    def _begin(self, key: str, answer: Answer, work: Callable[[], Coroutine[Any, Any, None]], message: str) -> None:
        """Carry out what an answer tells of, and show it."""
        self._aside.discard(key)
        talk = asyncio.create_task(self._in_turn(key, work))
        self._talks[talk] = key, answer, message
        talk.add_done_callback(self._talks.pop)
        self._keep(self._answer(key, answer, talk), answer)

    async def _in_turn(self, key: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do one thing of a key at a time, in order: no message comes between a conversation that is forgotten and the
        message with which the new one begins.
        """
        async with self._turn_of(key):
            await work()

    def _turn_of(self, key: str) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())

    def _keep(self, coroutine: Coroutine[Any, Any, None], answer: Answer) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks[task] = answer
        task.add_done_callback(self._tasks.pop)

    async def _renew(self, key: str, chat: Chat, message: str, answer: Answer) -> None:
        try:
            await self._manager.forget(key)
        except StoreError as error:
            log.warning("%s: the conversation goes on: %s", key, error)
            answer.say(NOT_FRESH)
            return
        finally:
            is_stopped = self._renewals.pop(answer) != message
        for keys in (self._left, self._told, self._missing, self._stopped):
            keys.discard(key)
        self._halted.pop(key, None)
        answer.say(FRESH)
        if is_stopped:
            answer.say(STOPPED["waiting"])
        elif message:
            await self._talk(key, chat, message, answer)

    async def _answer(self, key: str, answer: Answer, talk: asyncio.Task[None]) -> None:
        showing = asyncio.create_task(answer.show())
        soon = asyncio.get_running_loop().call_later(SOON, self._ask_for_patience, answer)
        try:
            await talk
        except ClosedError:
            answer.say(CLOSING[answer.stage])
        except ToolhouseError as error:
            log.warning("%s: %s: %s", key, type(error).__name__, error)
            if isinstance(error, StoreError) and answer.stage == "waiting" and error.safe_to_retry is None:
                error.safe_to_retry = True  # it failed before the message was sent
            if error.safe_to_retry is not True:
                self._stopped.discard(key)  # what became of this one matters
            if isinstance(error, OutcomeUnknownError) or is_gone(error):
                self._told.add(key)
            elif isinstance(error, StreamInterruptedError):
                self._missing.add(key)
            is_unknowable = answer.stage in ("beginning", "leaving") and error.safe_to_retry is None
            answer.say(UNKNOWABLE if is_unknowable else words_for(error))
        except Exception:
            log.exception("%s: an error of the bot's own", key)
            answer.say(BROKEN)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                showing.cancel()
                raise
            answer.say(STOPPED[answer.stage])
        finally:
            soon.cancel()
            answer.end()
            try:
                await showing
            finally:
                self._leave(key, answer)

    def _ask_for_patience(self, answer: Answer) -> None:
        """Say that a message waits: for another process, an earlier answer, or the store; nobody knows which."""
        if answer.stage == "waiting" and answer.is_empty:
            answer.notice(NOT_BEGUN)

    async def _talk(self, key: str, chat: Chat, message: str, answer: Answer) -> None:
        for _ in range(2):
            async with self._manager.checkout(key, delivers=True) as session:
                if self._is_closing:
                    raise ClosedError("the bot is being stopped")
                if await self._has_said(key, session, chat, message, answer):
                    answer.end()
                    await answer.shown()  # else it comes after a restart
                    return
            await self._manager.forget(key)

    async def _has_said(self, key: str, session: Session, chat: Chat, message: str, answer: Answer) -> bool:
        """Have a message answered; return whether that can be done in this conversation."""
        typing = asyncio.create_task(keep_typing(chat))
        try:  # the answer to what was stopped is not looked for
            if key not in self._stopped and not await self._settle(key, session, answer):
                return False
            await answer.shown()  # the next message says that a late answer was
            await self._speak(key, session, message, answer)
        except NotFoundError as error:
            if error.run_id is None or error.safe_to_retry is not True:
                raise  # the worker is not there, or has the message
            log.warning("%s: the service no longer has the conversation: %s", key, error)
            answer.stage = "waiting"
            answer.say(FORGOTTEN)
            return False
        finally:
            typing.cancel()
            await asyncio.wait({typing})
            if not typing.cancelled() and (error := typing.exception()) is not None:
                log.error("%s: an error of the bot's own", key, exc_info=error)
        return True

    async def _settle(self, key: str, session: Session, answer: Answer) -> bool:
        """Say what became of an earlier message whose answer nobody has seen; return whether that can be known."""
        try:
            late = await self._find_late(key, session)
        except ClosedError:
            raise
        except OutcomeUnknownError:
            if session.run_id is not None and not await _is_gone(session):
                raise  # it can be known later
            if key not in self._told:
                answer.say(self._found(key, LOST))
            self._told.discard(key)
            return False
        except ToolhouseError as error:
            if error.safe_to_retry is not False:
                raise  # nothing is known of the message
            log.warning("%s: the answer to an earlier message is missing: %s", key, error)
            was_told, gone = key in self._told, is_gone(error)
            self._told.discard(key) if gone else self._told.add(key)
            if not was_told:
                answer.say(self._found(key, FORGOTTEN if gone else ARRIVED))
            return not gone
        self._told.discard(key)
        if late is not None:
            answer.say(self._found(key, LATE))
            answer.say(late.text)
        elif key in self._halted:
            answer.say(self._found(key, ABSENT))
        return True

    def _found(self, key: str, words: str) -> str:
        """What is said of a message of which it was found out what became: other words if somebody has stopped it."""
        message = self._halted.pop(key, None)
        return words if message is None else HALTED.get(words, words).format(beginning_of(message))

    async def _find_late(self, key: str, session: Session) -> TurnResult | None:
        """The answer to an earlier message, if it arrived; one that was looked for in vain is not waited for again."""
        try:
            async with asyncio.timeout(BRIEF if key in self._missing else None) as looking:
                late = await session.reconcile()
        except StreamInterruptedError:
            self._missing.add(key)
            raise
        except TimeoutError:
            if not looking.expired():
                raise
            raise StreamInterruptedError("there is no more of the answer", safe_to_retry=False) from None
        self._missing.discard(key)
        return late

    async def _speak(self, key: str, session: Session, message: str, answer: Answer) -> None:
        try:
            await self._stream(key, session, message, answer)
        except ConflictError:
            if key not in self._stopped:
                raise
            with suppress(StreamInterruptedError):
                await session.reconcile()  # only to wait: the worker is still at what was stopped
            await self._stream(key, session, message, answer)
        except (OutcomeUnknownError, ServerError) as error:
            if error.safe_to_retry is not None:
                raise
            answer.notice(SEEKING)
            found = await session.reconcile()
            if found is None:  # it did not arrive: to send it again is right
                await self._stream(key, session, message, answer)
            else:
                answer.say(found.text)

    async def _stream(self, key: str, session: Session, message: str, answer: Answer) -> None:
        answer.stage = "beginning" if session.run_id is None else "sending"
        try:
            await self._follow(key, session, message, answer)
        except ToolhouseError as error:
            if error.safe_to_retry is True:  # it was not sent, or refused
                answer.stage = "waiting"
            raise

    async def _follow(self, key: str, session: Session, message: str, answer: Answer) -> None:
        said = ""  # in this round
        async with session.stream(message) as turn:
            async for event in turn:
                match event:
                    case TurnStarted():
                        answer.stage = "answering"
                        self._stopped.discard(key)
                    case TextDelta(text):
                        said += text
                        answer.add(text)
                    case JobStarted() if answer.stage == "sending":
                        answer.stage = "waiting"  # for a job that runs already: this message was not taken yet
                        answer.notice(QUEUED)
                    case JobFinished() if answer.stage == "waiting":
                        answer.stage = "sending"
                    case JobStarted():
                        answer.stage = "computing"
                        answer.notice(COMPUTING)
                    case TurnResumed():
                        answer.stage = "answering"
                        answer.begin()
                        said = ""
                    case StreamRecovered(text, missing) if text != said + missing:
                        answer.say(WHOLE)
                        answer.add(text)
                        said = text
                    case TurnCompleted():
                        answer.is_whole = True

    async def _look(self) -> None:
        """Look for what stopped processes have left: each key by itself, and none waits for another."""
        while True:
            pause = LOOK_AGAIN
            try:
                infos = [info async for info in self._manager.sessions() if info.key not in self._open]
            except ToolhouseError as error:
                log.warning("what stopped processes have left is looked for again later: %s", error)
            except Exception:
                log.exception("an error of the bot's own")
            else:
                self._left &= self._open.keys()  # somebody waits behind that job
                self._left |= {info.key for info in infos if info.pending}
                for key in {info.key for info in infos if info.unknown} - self._sought - self._aside:
                    self._sought.add(key)
                    self._seek(self._find_out(key))
                if self._left:
                    self._seek(self._resume())
                # Who has a key may have been stopped; jobs are waited for already.
                leases = [info.lease for info in infos if info.holder is not None and not info.pending]
                pause = min([LOOK_AGAIN, *leases])
            await asyncio.sleep(pause)

    def _seek(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._seeking.add(task)
        task.add_done_callback(self._seeking.discard)

    async def _resume(self) -> None:
        """Bring the answers of jobs that stopped processes have left, but for those that are being waited for."""
        try:
            await self._manager.resume_pending(self._deliver)  # which logs each that fails
        except ToolhouseError as error:
            log.warning("the jobs of stopped processes are looked for again later: %s", error)

    async def _deliver(self, key: str, result: TurnResult) -> None:
        try:
            if key not in self._stopped:
                chat = await self._find(key)
                answer = self._queued(key, chat, is_late=True)
                try:
                    answer.say(result.text)
                    await finish(answer)
                finally:
                    self._leave(key, answer)
        except ChatGoneError as error:
            log.warning("%s: the answer to a job is dropped: %s", key, error)
        self._left.discard(key)

    async def _find_out(self, key: str) -> None:
        """Settle what a stopped process was just sending, and say what became of it."""
        answer = None
        try:
            answer = self._queued(key, await self._find(key))
            answer.patience = math.inf  # once it is settled, nobody else will tell it
            async with self._turn_of(key):
                async with self._manager.checkout(key) as session:
                    if key not in self._sought:
                        return  # they have said something meanwhile, and were told then
                    is_known = await self._settle(key, session, answer)
                if not is_known:
                    await self._manager.forget(key)
            if is_known and answer.is_empty:
                answer.say(ABSENT)
            if not answer.is_empty:  # else it was told already that nobody can know
                await finish(answer)
        except ChatGoneError as error:
            log.warning("%s: what became of a message is told nobody: %s", key, error)
            self._aside.add(key)
        except (ToolhouseError, ConnectionError) as error:
            log.warning("%s: what became of a message is found out later: %s", key, error)
        except Exception:  # one chat's trouble is not the others'
            log.exception("%s: what became of a message is found out later", key)
        finally:
            self._sought.discard(key)
            if answer is not None:
                self._leave(key, answer)

    def _queued(self, key: str, chat: Chat, *, is_late: bool = False) -> Answer:
        """A new answer of a conversation: its last one, or, to what was said before, in front of those that wait."""
        order = self._open.setdefault(key, [])
        answer = self._new_answer(chat, key, order)
        waiting = (number for number, other in enumerate(order) if other.stage == "waiting")
        order.insert(next(waiting, len(order)) if is_late else len(order), answer)
        return answer

    def _leave(self, key: str, answer: Answer) -> None:
        """Let those come that are behind an answer."""
        order = self._open[key]
        order.remove(answer)
        if order:
            order[0].go_on()
        else:
            del self._open[key]

    def _new_answer(self, chat: Chat, name: str, order: list[Answer] | None = None) -> Answer:
        return Answer(chat, self.paces.setdefault(chat.scope, Pace(chat.pause)), name, order)


async def _is_gone(session: Session) -> bool:
    """Whether the service no longer knows the conversation."""
    try:
        await session.history()
    except ToolhouseError as error:
        return isinstance(error, NotFoundError)  # else nobody knows
    return False


def is_gone(error: ToolhouseError) -> bool:
    """Whether an answer cannot be had since the service no longer has the conversation."""
    is_missing = isinstance(error, NotFoundError) or isinstance(error.__cause__, NotFoundError)
    return is_missing and error.run_id is not None  # else the worker is not there


def beginning_of(message: str) -> str:
    """The first words of a message, in one line."""
    words = " ".join(message.split())
    return words if len(words) <= 40 else words[:39].rstrip() + "…"


def words_for(error: ToolhouseError) -> str:
    """What to tell people of an error: what they can do, and nothing of what is inside."""
    if isinstance(error, RateLimitError):
        seconds = error.retry_after or 60
        when = f"in {round(seconds)} seconds" if seconds < 120 else "later"
        return f"Too many people are asking just now. Please say it again {when}."
    if isinstance(error, LeaseLostError) and not error.has_vanished:  # another process has the conversation
        return TAKEN_OVER if error.safe_to_retry is False else UNKNOWN[error.safe_to_retry]
    if is_gone(error) and error.safe_to_retry is False:
        return GONE
    if isinstance(error, StoreError) and error.token is not None:
        return WORDS[ContactLostError]  # before the resume, which is sent once the store works again
    for kind, words in WORDS.items():
        if isinstance(error, kind):
            return words
    return UNKNOWN[error.safe_to_retry]
