"""A Telegram bot whose words are those of a worker.

Get a token from @BotFather, then:

    pip install 'toolhouse-async[sqlite]' aiogram
    TELEGRAM_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python telegram_bot.py
"""

import asyncio
import logging
import os

from aiogram import Bot, Dispatcher, F
from aiogram.enums import ChatType
from aiogram.exceptions import AiogramError, TelegramBadRequest, TelegramForbiddenError
from aiogram.types import LinkPreviewOptions, Message
from answers import Chat, Refusal
from conversations import Conversations

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
"""Else Telegram would fetch what a worker links, with whatever is in the address."""


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
        return (await self._bot.send_message(self._id, text, link_preview_options=NO_PREVIEW)).message_id

    async def edit(self, message: int, text: str) -> None:
        await self._bot.edit_message_text(text, chat_id=self._id, message_id=message, link_preview_options=NO_PREVIEW)

    async def typing(self, is_on: bool) -> None:
        if is_on:
            await self._bot.send_chat_action(self._id, "typing")


async def serve(bot: Bot, manager: SessionManager) -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""

    async def find(key: str) -> TelegramChat:
        return TelegramChat(bot, key)

    async def hear(message: Message) -> None:
        key = f"telegram:{message.chat.id}"
        conversations.hear(key, TelegramChat(bot, key), message.text or "")

    conversations = Conversations(manager, find)
    dispatcher = Dispatcher()
    dispatcher.message.register(hear, F.chat.type == ChatType.PRIVATE, F.text)
    dispatcher.startup.register(conversations.start)
    dispatcher.shutdown.register(conversations.aclose)
    await dispatcher.start_polling(bot)


async def main() -> None:
    """Connect everything."""
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("telegram.db") as store,
        SessionManager(toolhouse, os.environ["AGENT_ID"], store=store, on_missing="restart") as manager,
    ):
        await serve(Bot(os.environ["TELEGRAM_TOKEN"]), manager)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
