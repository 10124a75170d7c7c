"""What people say to the bot itself, not to the worker: commands, and what the bot cannot read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from answers import Chat

if TYPE_CHECKING:
    from conversations import Conversations

COMMANDS = {
    "help": "What I can do",
    "new": "Begin a new conversation",
    "stop": "Stop what I am doing",
}
"""The commands that each bot has, as a platform lists them."""
UNREADABLE = "I cannot read pictures, files, voice messages or stickers. Please tell me in words."
BESIDE = "I have read your words, but not what came with them: I cannot read pictures, files or voice messages."
IDLE = "I am not doing anything here just now."
FRESH = "We begin a new conversation. I remember nothing of what we said before."
NOT_YET_FRESH = "⏳ The new conversation begins when that computation has ended. This may take some minutes."
NOT_FRESH = "I could not begin a new conversation just now. Please say that again in a minute."
UNSURE = "Stopped. I do not know whether this got through; I will find out, and tell you."
STOPPED = {
    "waiting": "Stopped. I have not passed this on.",
    "beginning": UNSURE,
    "sending": UNSURE,
    "leaving": "Stopped. I do not know whether this got through, and will not find out: we begin a new conversation.",
    "answering": "Stopped. This did get through, and what I have begun may still be done; I say no more of it now.",
    "computing": "Stopped. The computation may go on. I will not bring its answer, unless a restart makes me forget.",
}
"""What is said where somebody stops their turn, by what it was doing."""


def greeting(mark: str = "/") -> str:
    """What is said to who begins, or asks for help; ``mark`` stands before each command."""
    lines = [f"{mark}{name} – {what}" for name, what in COMMANDS.items()]
    return "\n".join(["Hello! Write to me, and I will answer here. I remember what we have said before.", "", *lines])


def receive(
    conversations: Conversations, key: str, chat: Chat, words: str, *, mark: str = "/", has_more: bool = False
) -> None:
    """Do what a message asks for.

    Args:
        conversations: What answers it if it is for the worker.
        key: Whose conversation it belongs to.
        chat: Where it was said.
        words: What it says.
        mark: What stands before a command. Where that is nothing, a message of that word alone is one too.
        has_more: Whether something came with it that is no text.
    """
    if has_more:
        conversations.say(chat, BESIDE if words else UNREADABLE)
        if not words:
            return
    name, rest = _read(words, mark)
    match name:
        case "start" | "help":
            conversations.say(chat, greeting(mark))
        case "stop":
            if not conversations.stop(key, chat):
                conversations.say(chat, IDLE)
        case "new":
            conversations.renew(key, chat, rest)
        case _:
            conversations.hear(key, chat, words)


def _read(words: str, mark: str) -> tuple[str, str]:
    """The command in a message, and what stands behind it; where nothing is said, that asks for help."""
    found = re.fullmatch(r"/(\w+)(?:@\w+)?(?:\s+(.*))?", words, re.DOTALL)
    if found:
        return found[1].lower(), found[2] or ""
    if not words:
        return "help", ""
    return "" if mark else words.lower(), ""
