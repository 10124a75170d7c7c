"""A Telegram bot whose words are those of a worker, for those who know python-telegram-bot.

Get a token from @BotFather, then:

    pip install 'toolhouse-async[sqlite]' python-telegram-bot
    TELEGRAM_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python python_telegram_bot.py
"""

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any

from answers import Refusal
from commands import COMMANDS
from conversations import Conversations, run, setting
from telegram import LinkPreviewOptions, Update
from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError
from telegram.ext import Application, MessageHandler, filters
from telegram_chat import Ear, PrivateChat

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

os.environ.setdefault("PTB_TIMEDELTA", "1")  # else the library warns whenever Telegram asks it to wait

log = logging.getLogger("bot")

App = Application[Any, Any, Any, Any, Any, Any]


class TelegramChat(PrivateChat):
    """A private chat, by python-telegram-bot."""

    failures = (TelegramError,)
    forbidden = Forbidden
    bad_request = BadRequest
    no_preview = LinkPreviewOptions(is_disabled=True)

    def refusal(self, error: Exception) -> Refusal:
        if "Parsing the server response" in str(error):  # what a proxy says is not Telegram's word
            return Refusal.LATER
        return super().refusal(error)

    def asked_for(self, error: Exception) -> float | None:
        asked = getattr(error, "retry_after", None)
        return asked.total_seconds() if isinstance(asked, timedelta) else asked


async def serve(application: App, manager: SessionManager) -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""
    bot, updater = application.bot, application.updater
    assert updater is not None

    async def find(key: str) -> TelegramChat:
        return TelegramChat(bot, key)

    async def hear(update: Update, _: object) -> None:
        ear.hear(update.message)

    conversations = Conversations(manager, find)
    ear = Ear(conversations, lambda key: TelegramChat(bot, key))
    # Without the first filter edited messages come, too.
    application.add_handler(MessageHandler(filters.UpdateType.MESSAGE & filters.ChatType.PRIVATE, hear))
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows asyncio cancels this where Ctrl-C is pressed
            loop.add_signal_handler(number, stopped.set)
    try:
        await application.initialize()
    except InvalidToken:  # whose message has the token
        raise InvalidToken("Telegram does not take the token") from None
    async with application, AsyncExitStack() as ending:
        try:
            await bot.set_my_commands(list(COMMANDS.items()))
        except TelegramError as error:  # they work all the same
            log.warning("Telegram does not list the commands: %s", error)
        ending.push_async_callback(conversations.aclose)
        await conversations.start()
        await application.start()
        ending.push_async_callback(application.stop)
        await updater.start_polling(allowed_updates=[Update.MESSAGE], error_callback=report)
        ending.push_async_callback(updater.stop)
        await stopped.wait()


def report(error: TelegramError) -> None:
    """Log why Telegram tells of no messages, in one line: the library asks again by itself."""
    log.warning("%r", error)


async def main() -> None:
    """Connect everything."""
    agent_id = setting("AGENT_ID", "the id of your worker")
    token = setting("TELEGRAM_TOKEN", "what BotFather has given you")
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("telegram.db") as store,
        SessionManager(toolhouse, agent_id, store=store) as manager,
    ):
        await serve(Application.builder().token(token).build(), manager)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines have the token
    run(main, *TelegramChat.failures)
