"""A Telegram bot whose words are those of a worker.

Get a token from @BotFather, then:

    pip install 'toolhouse-async[sqlite]' aiogram
    TELEGRAM_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python telegram_bot.py
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from aiogram import Bot, Dispatcher, F
from aiogram.enums import ChatType, ContentType, ParseMode
from aiogram.exceptions import AiogramError, TelegramBadRequest, TelegramForbiddenError
from aiogram.types import BotCommand, LinkPreviewOptions, Message
from aiogram.utils.token import TokenValidationError
from answers import Chat, Refusal
from commands import COMMANDS, receive
from conversations import Conversations, run, setting
from formatting import Block, Code, End, Start, Style, Text, parse

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
"""Else Telegram would fetch what a worker links, with whatever is in the address."""
TAGS = {Style.BOLD: "b", Style.ITALIC: "i", Style.STRIKE: "s"}
UNREADABLE = {
    *(ContentType.PHOTO, ContentType.VIDEO, ContentType.VIDEO_NOTE, ContentType.ANIMATION, ContentType.LIVE_PHOTO),
    *(ContentType.VOICE, ContentType.AUDIO, ContentType.DOCUMENT, ContentType.STICKER, ContentType.PAID_MEDIA),
    *(ContentType.LOCATION, ContentType.VENUE, ContentType.CONTACT, ContentType.POLL, ContentType.CHECKLIST),
    *(ContentType.STORY, ContentType.DICE, ContentType.GAME),
}
"""What people send, and the bot cannot read; what else is no text tells of the chat itself."""

log = logging.getLogger("bot")


class TelegramChat(Chat):
    """A private chat."""

    limit = 4096
    pause = 1.0
    typing_lasts = 5.0
    failures = (AiogramError,)

    def __init__(self, bot: Bot, key: str) -> None:
        self.scope = key
        self._bot = bot
        self._id = int(key.removeprefix("telegram:"))

    def refusal(self, error: Exception) -> Refusal:
        if isinstance(error, TelegramForbiddenError) or "chat not found" in str(error):
            return Refusal.NOBODY
        if "message is not modified" in str(error):
            return Refusal.NO_NEWS
        return Refusal.NEVER if isinstance(error, TelegramBadRequest) else Refusal.LATER

    async def post(self, text: str) -> int:
        async def send(text: str, **options: Any) -> Message:
            return await self._bot.send_message(self._id, text, link_preview_options=NO_PREVIEW, **options)

        message: Message = await self._formatted(text, send)
        return message.message_id

    async def edit(self, message: int, text: str) -> None:
        async def change(text: str, **options: Any) -> Any:
            return await self._bot.edit_message_text(
                text, chat_id=self._id, message_id=message, link_preview_options=NO_PREVIEW, **options
            )

        await self._formatted(text, change)

    async def _formatted(self, text: str, send: Callable[..., Awaitable[Any]]) -> Any:
        """Send HTML where the text has a format, and the text as it is where it has none or Telegram cannot read it."""
        html = html_of(text)
        if html is not None:
            try:
                return await send(html, parse_mode=ParseMode.HTML)
            except TelegramBadRequest as error:
                if "can't parse entities" not in str(error):
                    raise
                log.warning("%s: a message is sent without its format: %s", self.scope, error)
                await asyncio.sleep(self.pause)
        return await send(text, parse_mode=None)

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


async def serve(bot: Bot, manager: SessionManager) -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""

    async def find(key: str) -> TelegramChat:
        return TelegramChat(bot, key)

    async def hear(message: Message) -> None:
        key = f"telegram:{message.chat.id}"
        words, album = message.text or message.caption or "", message.media_group_id
        has_more = message.content_type in UNREADABLE and (album is None or album not in albums)
        if album is not None:
            albums[album] = None  # its pictures are messages of their own: one word about all of them
            if len(albums) > 1000:
                del albums[next(iter(albums))]
        if words or has_more:
            receive(conversations, key, TelegramChat(bot, key), words, has_more=has_more)

    async def list_commands() -> None:
        try:
            await bot.set_my_commands([BotCommand(command=name, description=what) for name, what in COMMANDS.items()])
        except AiogramError as error:  # they work all the same
            log.warning("Telegram does not list the commands: %s", error)

    albums: dict[str, None] = {}
    conversations = Conversations(manager, find)
    dispatcher = Dispatcher()
    dispatcher.message.register(hear, F.chat.type == ChatType.PRIVATE)
    dispatcher.startup.register(list_commands)
    dispatcher.startup.register(conversations.start)
    dispatcher.shutdown.register(conversations.aclose)
    await dispatcher.start_polling(bot)


async def main() -> None:
    """Connect everything."""
    agent_id = setting("AGENT_ID", "the id of your worker")
    token = setting("TELEGRAM_TOKEN", "what BotFather has given you")
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("telegram.db") as store,
        SessionManager(toolhouse, agent_id, store=store) as manager,
    ):
        await serve(Bot(token), manager)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(main, *TelegramChat.failures, TokenValidationError)
