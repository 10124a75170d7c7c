"""A Telegram bot whose words are those of a worker.

Get a token from @BotFather, then:

    pip install 'toolhouse-async[sqlite]' aiogram
    TELEGRAM_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python telegram_bot.py
"""

import logging

from aiogram import Bot, Dispatcher, F
from aiogram.enums import ChatType
from aiogram.exceptions import AiogramError, TelegramBadRequest, TelegramForbiddenError
from aiogram.types import BotCommand, LinkPreviewOptions, Message
from aiogram.utils.token import TokenValidationError
from commands import COMMANDS
from conversations import Conversations, run, setting
from telegram_chat import Ear, PrivateChat

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

log = logging.getLogger("bot")


class TelegramChat(PrivateChat):
    """A private chat, by aiogram."""

    failures = (AiogramError,)
    forbidden = TelegramForbiddenError
    bad_request = TelegramBadRequest
    no_preview = LinkPreviewOptions(is_disabled=True)


async def serve(bot: Bot, manager: SessionManager) -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""

    async def find(key: str) -> TelegramChat:
        return TelegramChat(bot, key)

    async def hear(message: Message) -> None:
        ear.hear(message)

    async def list_commands() -> None:
        try:
            await bot.set_my_commands([BotCommand(command=name, description=what) for name, what in COMMANDS.items()])
        except AiogramError as error:  # they work all the same
            log.warning("Telegram does not list the commands: %s", error)

    conversations = Conversations(manager, find)
    ear = Ear(conversations, lambda key: TelegramChat(bot, key))
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
