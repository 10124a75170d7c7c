"""A conversation on a terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rich.text import Text

from ... import events as ev
from ..._values.results import JobToken
from ...errors import ConfigurationError, OutcomeUnknownError, ToolhouseError
from ..runs.transcript import as_json, as_markdown, as_text
from ..statuses import Status
from ..terminal import described, harmless, one_line
from ..view import TurnView
from .fates import FORGONE, Fate, fate_of
from .interrupting import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rich.console import Console

    from ..._client import AsyncToolhouse
    from ..._held import Turn
    from ..._values.results import Message, TurnResult
    from .interrupting import Interrupts
    from .prompt import Prompt
    from .remembered import Memory

__all__ = ["Chat"]

T = TypeVar("T")

HELP: Final = """\
/new          begin a new conversation
/history      show the conversation as the service has it
/export FILE  write it to a new file: Markdown, or JSON where the name ends in .json
/look         find out what became of the last message, and get its answer
/token        show the token of the job that runs: toolhouse-async wait takes it
/help         show this
Alt-Enter begins a new line. Ctrl-C stops an answer; at the prompt, twice, it leaves, as Ctrl-D does."""
"""What ``/help`` says."""


class Chat:
    """Talks to one worker until the user leaves.

    Args:
        toolhouse: The client; it must outlive the chat.
        agent_id: The worker.
        memory: Where the conversation stands, and is noted.
        prompt: Where the user types.
        console: Where everything is shown.
        interrupts: What takes Ctrl-C.
    """

    def __init__(
        self,
        toolhouse: AsyncToolhouse,
        agent_id: str,
        memory: Memory,
        prompt: Prompt,
        console: Console,
        interrupts: Interrupts,
    ) -> None:
        self._toolhouse = toolhouse
        self._agent_id = agent_id
        self._memory = memory
        self._prompt = prompt
        self._console = console
        self._interrupts = interrupts
        self._session = toolhouse.session(agent_id, run_id=memory.now.run_id)
        self._is_inherited = (
            memory.now.message is not None
        )  # an earlier start has sent it, so the session knows nothing
        self._job: JobToken | None = None
        self._draft = ""
        self._leaves_next = False

    async def talk(self) -> int:
        """Talk until the user leaves, by Ctrl-D or by Ctrl-C twice.

        Returns:
            The exit status.

        Raises:
            ConfigurationError: An argument is wrong.
            OutputError: Stdout cannot be written to.

        Cancelling ends the turn under way.
        """
        await self._begin()
        while True:
            draft, self._draft = self._draft, ""
            try:
                text = await self._prompt.read(draft)
            except EOFError:
                return Status.DONE
            except Interrupted:
                if self._leaves_next:
                    return Status.DONE
                self._leaves_next = True
                self._note("Ctrl-C again or Ctrl-D leaves.")
                continue
            self._leaves_next = False
            if not text.strip():
                continue
            if text.startswith("/") and not text.startswith("//"):
                await self._obey(text)
            else:
                await self._say(text[1:] if text.startswith("//") else text)

    async def _begin(self) -> None:
        run_id, message = self._memory.now.run_id, self._memory.now.message
        where = "a new conversation" if run_id is None else f"conversation {run_id} goes on (/new begins another)"
        self._note(f"Worker {self._agent_id}, {where}. /help lists commands.")
        if message is None:
            return
        self._note(f'The answer to the last message was not seen: "{one_line(message)}"')
        if run_id is None:
            await self._forgo()
        elif await self._prompt.agrees("Look now what became of it?"):
            await self._look()

    async def _say(self, message: str) -> None:
        """Send a message and show its answer; say what became of it where there is none."""
        earlier = self._memory.now.message
        self._memory.keep(message=message)
        try:
            await self._interrupts.until(self._follow(self._session.stream(message)))
        except Interrupted:
            await self._stopped()
        except ConfigurationError:
            raise
        except ToolhouseError as error:
            await self._failed(error, message, earlier)
        else:
            self._settled()

    async def _follow(self, turn: Turn) -> None:
        with TurnView(self._console) as view:
            async with turn:
                async for event in turn:
                    if isinstance(event, ev.TurnStarted):
                        self._is_inherited = False
                        self._memory.keep(run_id=event.run_id)
                    elif isinstance(event, ev.JobStarted) and turn.run_id is not None:
                        self._job = JobToken(self._agent_id, turn.run_id, event.job_id, time.time())
                    elif isinstance(event, ev.JobFinished):
                        self._job = None
                    view.show(event)
                    if isinstance(event, ev.TurnCompleted) and not event.result.text:
                        self._note("The answer has no text.")

    async def _stopped(self) -> None:
        self._leaves_next = True
        if self._session.run_id is None:
            self._note("Stopped.")
            await self._forgo()
        elif self._job is not None:
            self._note(
                f"Stopped waiting; job {self._job.job_id} goes on. /look waits for it, and so does your next message."
            )
        else:
            self._note("Stopped. The worker may go on; /look finds out what became of your message.")

    async def _failed(self, error: ToolhouseError, message: str, earlier: str | None) -> None:
        self._complain(described(error))
        match fate_of(error):
            case Fate.NOT_ACCEPTED:
                self._memory.keep(message=earlier)
                self._draft = message
                self._note("The message was not accepted: here it is again.")
            case Fate.OVER:
                self._settled()
            case _ if self._session.run_id is None:
                await self._forgo()
            case Fate.INCOMPLETE:
                self._note("The message was accepted, and its answer is not complete. /look waits for the rest.")
            case Fate.BEHIND:
                self._memory.keep(message=earlier)
                await self._offer_to_look()
                self._draft = self._draft or message
            case Fate.UNKNOWN:
                await self._offer_to_look()

    async def _forgo(self) -> None:
        """Give up a message that was to begin the conversation: without a run id nobody can look for it."""
        self._note(FORGONE)
        await self._anew()

    async def _offer_to_look(self) -> None:
        if await self._prompt.agrees("Look now what became of it?"):
            await self._look()
        else:
            self._note("/look does that later.")

    async def _look(self) -> None:
        """Find out what became of the message whose answer was not seen."""
        message = self._memory.now.message
        if message is None:
            self._note("Nothing is open: every message has its answer.")
            return
        self._note("Looking in the history; Ctrl-C stops that.")
        session = self._session
        try:
            found = await self._interrupts.until(
                session.recover(message) if self._is_inherited else session.reconcile()
            )
        except Interrupted:
            self._leaves_next = True
            self._note("Stopped looking; /look looks again.")
        except OutcomeUnknownError as error:
            self._complain(described(error))
            if await self._prompt.agrees(
                "Count it as not accepted? If it was, saying it again makes two of it.", by_default=False
            ):
                if not self._is_inherited:
                    await session.reconcile(assume="absent")
                self._settled()
                self._draft = message
            else:
                self._note("/look looks again, and /new begins a new conversation.")
        except ToolhouseError as error:
            self._complain(described(error))
            if fate_of(error) is Fate.OVER:
                self._settled()
        else:
            self._settled()
            if found is None:
                self._note("It was not accepted: here it is again.")
                self._draft = message
            else:
                self._show_answer(found)

    def _show_answer(self, found: TurnResult) -> None:
        self._note("It was accepted, and this is the whole answer:")
        with TurnView(self._console) as view:
            view.show(ev.TextDelta(found.text))

    def _settled(self) -> None:
        self._memory.keep(message=None)
        self._is_inherited = False
        self._job = None

    async def _obey(self, text: str) -> None:
        """Do what a line says that begins with a slash."""
        name, _, argument = text.strip().partition(" ")
        argument = argument.strip()
        match name:
            case "/help":
                self._note(HELP)
            case "/look":
                await self._look()
            case "/new":
                await self._anew()
                self._note("A new conversation.")
            case "/history":
                await self._with_history(self._show_history)
            case "/export" if argument:
                await self._with_history(lambda history: self._export(history, Path(argument).expanduser()))
            case "/export":
                self._complain("/export needs the name of a file")
            case "/token":
                await self._show_token()
            case _:
                self._complain(f"there is no command {name}; /help lists them, and //… says /… to the worker")

    async def _anew(self) -> None:
        """Let the next message begin a conversation."""
        await self._session.aclose()
        self._session = self._toolhouse.session(self._agent_id)
        self._settled()
        self._memory.keep(run_id=None)

    async def _with_history(self, use: Callable[[list[Message]], None]) -> None:
        history = await self._asked(self._session.history())
        if history is not None:
            use(history)

    def _show_history(self, history: list[Message]) -> None:
        for piece in as_text(history):
            self._console.print(Text(piece), end="", soft_wrap=True)
        if not history:
            self._note("Nothing was said yet.")

    def _export(self, history: list[Message], path: Path) -> None:
        text = as_json(history) if path.suffix == ".json" else "".join(as_markdown(history))
        try:
            with path.open("x", encoding="utf-8") as file:  # what stands there is left alone
                file.write(text)
        except OSError as error:
            self._complain(f"{path}: {error.strerror or error}")
        else:
            self._note(f"{len(history)} messages written to {path}")

    async def _show_token(self) -> None:
        """Print what another process needs to wait for the job that runs."""
        run_id = self._session.run_id
        if run_id is None:
            self._note("There is no conversation yet.")
            return
        status = await self._asked(self._session.job_status())
        if status is None:
            return
        if status.job_id is None:
            self._note(f"No job runs. The conversation is {run_id} of worker {self._agent_id}.")
            return
        if self._job is None or self._job.job_id != status.job_id:  # an earlier start began it: count from now
            self._job = JobToken(status.agent_id, run_id, status.job_id, time.time())
        self._console.print(Text(harmless(self._job.to_json())), soft_wrap=True)

    async def _asked(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await an answer of the service; ``None`` where there is none, which was said."""
        try:
            return await self._interrupts.until(work)
        except Interrupted:
            self._leaves_next = True
        except ToolhouseError as error:
            self._complain(described(error))
        return None

    def _note(self, text: str) -> None:
        self._console.print(Text(harmless(text), "dim"))

    def _complain(self, text: str) -> None:
        self._console.print(Text("Error: ", "bold red") + Text(one_line(text, 1000)))
