"""What the bots for Telegram have in common, whichever library they use."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from answers import Chat, Refusal
from commands import UNREADABLE, receive
from conversations import Conversations
from formatting import Block, Code, End, Start, Style, Text, parse

TAGS = {Style.BOLD: "b", Style.ITALIC: "i", Style.STRIKE: "s"}
OTHERS = (
    *("photo", "video", "video_note", "animation", "live_photo", "voice", "audio", "document", "sticker", "paid_media"),
    *("location", "venue", "contact", "poll", "checklist", "story", "dice", "game"),
)
"""What people send, and the bot cannot read; what else is no text tells of the chat itself."""
ALBUM = 2.0
"""Seconds in which the pictures of an album come, one by one."""

log = logging.getLogger("bot")


class PrivateChat(Chat):
    """A private chat, by a library whose calls have the names and arguments that Telegram gives them.

    Attributes:
        forbidden: What the library raises where nobody is there any more.
        bad_request: What it raises where Telegram does not take what a call says.
        no_preview: The library's ``LinkPreviewOptions`` without a preview. Else Telegram would fetch what a worker
            links, with whatever is in the address.
    """

    limit = 4096
    pause = 1.0
    typing_lasts = 5.0
    forbidden: type[Exception]
    bad_request: type[Exception]
    no_preview: Any

    def __init__(self, bot: Any, key: str) -> None:
        self.scope = key
        self._bot = bot
        self._id = int(key.removeprefix("telegram:"))

    def refusal(self, error: Exception) -> Refusal:
        why = str(error).lower()
        if isinstance(error, self.forbidden) or "chat not found" in why:
            return Refusal.NOBODY
        if "message is not modified" in why:
            return Refusal.NO_NEWS
        return Refusal.NEVER if isinstance(error, self.bad_request) else Refusal.LATER

    async def post(self, text: str) -> int:
        async def send(text: str, parse_mode: str | None) -> Any:
            return await self._bot.send_message(
                self._id, text, parse_mode=parse_mode, link_preview_options=self.no_preview
            )

        message = await self._formatted(text, send)
        number: int = message.message_id
        return number

    async def edit(self, message: int, text: str) -> None:
        async def change(text: str, parse_mode: str | None) -> Any:
            return await self._bot.edit_message_text(
                text,
                chat_id=self._id,
                message_id=message,
                parse_mode=parse_mode,
                link_preview_options=self.no_preview,
            )

        await self._formatted(text, change)

    async def _formatted(self, text: str, send: Callable[[str, str | None], Awaitable[Any]]) -> Any:
        """Send HTML where the text has a format, and the text as it is where it has none or Telegram cannot read it."""
        html = html_of(text)
        if html is not None:
            try:
                return await send(html, "HTML")
            except self.bad_request as error:
                if "can't parse entities" not in str(error).lower():
                    raise
                log.warning("%s: a message is sent without its format: %s", self.scope, error)
                await asyncio.sleep(self.pause)
        return await send(text, None)

    async def typing(self, is_on: bool) -> None:
        if is_on:
            await self._bot.send_chat_action(self._id, "typing")


def html_of(text: str) -> str | None:
    """A worker's Markdown as Telegram's HTML; ``None`` if it has no format, or nothing that can be seen."""
    marks = parse(text)
    seen = "".join(mark[0] for mark in marks if isinstance(mark, Text | Code | Block))
    if not seen.strip() or all(isinstance(mark, Text) and mark.text == mark.source for mark in marks):
        return None
    return "".join(map(_html, marks))


def _html(mark: Text | Code | Block | Start | End) -> str:
    match mark:
        case Text(text):
            return escape(text, quote=False)
        case Code(text):
            return f"<code>{escape(text, quote=False)}</code>"
        case Block(code, language) if re.fullmatch(r"[\w+#.-]+", language):
            return f'<pre><code class="language-{language}">{escape(code, quote=False)}</code></pre>'
        case Block(code):
            return f"<pre>{escape(code, quote=False)}</pre>"
        case Start(Style.LINK, url):
            return f'<a href="{escape(url)}">'
        case End(Style.LINK):
            return "</a>"
        case Start(style):
            return f"<{TAGS[style]}>"
        case End(style):
            return f"</{TAGS[style]}>"


class Ear:
    """What hears the messages of private chats.

    Args:
        conversations: What answers them.
        chat_of: Makes the chat of a key.
    """

    def __init__(self, conversations: Conversations, chat_of: Callable[[str], Chat]) -> None:
        self._conversations = conversations
        self._chat_of = chat_of
        self._albums: dict[str, bool] = {}  # whether words came with one of its pictures

    def hear(self, message: Any) -> None:
        """Do what a message asks for, which has the fields that Telegram gives it."""
        key = f"telegram:{message.chat.id}"
        chat, words, album = self._chat_of(key), message.text or message.caption or "", message.media_group_id
        has_more = any(getattr(message, name, None) for name in OTHERS)
        if album is not None:  # its pictures are messages of their own: one word about all of them
            is_new, had_words = album not in self._albums, self._albums.get(album, False)
            self._albums[album] = had_words or bool(words)
            if len(self._albums) > 1000:
                del self._albums[next(iter(self._albums))]
            if has_more and is_new and not words:
                self._conversations.say(chat, UNREADABLE, after=ALBUM, unless=lambda: self._albums.get(album, False))
            has_more = has_more and bool(words) and not had_words
        if words or has_more:
            receive(self._conversations, key, chat, words, has_more=has_more)
