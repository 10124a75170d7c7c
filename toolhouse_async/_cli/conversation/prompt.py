"""Where the user types: several lines, with a history that is kept."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings

from .interrupting import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prompt_toolkit.key_binding import KeyPressEvent

    from .interrupting import Interrupts

__all__ = ["Prompt"]


class Prompt:
    """Reads from the terminal; Enter sends, Alt-Enter begins a new line, and so does what is pasted.

    Args:
        history: The file that keeps what was typed, of the user's alone; made where it is missing.
        interrupts: What takes Ctrl-C where it is a signal; on a terminal in raw mode it is a key.
    """

    def __init__(self, history: Path, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._session: PromptSession[str] = PromptSession(
            history=_Typed(history),
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation="  ",
        )

    async def read(self, draft: str = "") -> str:
        """Read a message.

        Args:
            draft: What stands there already.

        Raises:
            Interrupted: Ctrl-C.
            EOFError: Ctrl-D.
        """
        return await self._ask(self._session, "> ", draft)

    async def agrees(self, question: str, *, by_default: bool = True) -> bool:
        """Ask a question of yes or no; Enter is the default, Ctrl-C and Ctrl-D a no."""
        try:
            answer = await self._ask(PromptSession(), f"{question} [{'Y/n' if by_default else 'y/N'}] ", "")
        except (Interrupted, EOFError):
            return False
        return answer.strip().lower() in (("", "y", "yes") if by_default else ("y", "yes"))

    async def _ask(self, session: PromptSession[str], prompt: str, draft: str) -> str:
        try:
            return await self._interrupts.until(session.prompt_async(prompt, default=draft, handle_sigint=False))
        except KeyboardInterrupt:
            raise Interrupted from None


class _Typed(FileHistory):
    """What was typed; a file that cannot be read or written is done without."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))

    def load_history_strings(self) -> Iterable[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings
