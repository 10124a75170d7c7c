"""A Telegram bot whose words are those of a worker, for those who know python-telegram-bot.

Get a token from @BotFather, then:

    pip install 'toolhouse-async[sqlite]' python-telegram-bot
    TELEGRAM_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python python_telegram_bot.py
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from answers import Refusal
from commands import COMMANDS
from conversations import Conversations, in_one_line, setting
from telegram import LinkPreviewOptions, Update
from telegram.error import BadRequest, Forbidden, TelegramError
from telegram.ext import Application, ApplicationBuilder, MessageHandler, filters
from telegram_chat import Ear, PrivateChat

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

os.environ.setdefault("PTB_TIMEDELTA", "1")  # else the library warns whenever Telegram asks it to wait

log = logging.getLogger("bot")

App = Application[Any, Any, Any, Any, Any, Any]
Builder = ApplicationBuilder[Any, Any, Any, Any, Any, Any]


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


def prepared(builder: Builder, managing: AbstractAsyncContextManager[SessionManager]) -> App:
    """An application that answers while it runs.

    Args:
        builder: One that has a token.
        managing: Opens what keeps the conversations, and closes it.
    """
    opened = AsyncExitStack()

    async def start(application: App) -> None:
        async def find(key: str) -> TelegramChat:
            return TelegramChat(application.bot, key)

        async def hear(update: Update, _: object) -> None:
            ear.hear(update.message)

        manager = await opened.enter_async_context(managing)
        conversations = Conversations(manager, find)
        ear = Ear(conversations, lambda key: TelegramChat(application.bot, key))
        # Without the first filter edited messages come, too.
        application.add_handler(MessageHandler(filters.UpdateType.MESSAGE & filters.ChatType.PRIVATE, hear))
        application.add_error_handler(report)
        try:
            await application.bot.set_my_commands(list(COMMANDS.items()))
        except TelegramError as error:  # they work all the same
            log.warning("Telegram does not list the commands: %s", error)
        opened.push_async_callback(conversations.aclose)
        await conversations.start()

    async def stop(_: App) -> None:
        await opened.aclose()

    # After it has stopped, people can still be told; after its shutdown only what a failed start has left is closed.
    return builder.post_init(start).post_stop(stop).post_shutdown(stop).build()


async def report(_: object, context: Any) -> None:
    """Log why Telegram tells of no messages, in one line: the library asks again by itself."""
    is_theirs = isinstance(context.error, TelegramError)
    log.log(logging.WARNING if is_theirs else logging.ERROR, "%r", context.error, exc_info=not is_theirs)


@asynccontextmanager
async def connected(agent_id: str) -> AsyncIterator[SessionManager]:
    """What the bot needs of the service."""
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("telegram.db") as store,
        SessionManager(toolhouse, agent_id, store=store) as manager,
    ):
        yield manager


def main() -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""
    agent_id = setting("AGENT_ID", "the id of your worker")
    token = setting("TELEGRAM_TOKEN", "what BotFather has given you")
    prepared(Application.builder().token(token), connected(agent_id)).run_polling(allowed_updates=[Update.MESSAGE])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines have the token
    with in_one_line(*TelegramChat.failures):
        main()
