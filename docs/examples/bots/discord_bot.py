"""A Discord bot whose words are those of a worker. It answers direct messages, and whoever mentions it in a channel.

Make an application with a bot at https://discord.com/developers, and invite it with the permission to send messages:

    pip install 'toolhouse-async[sqlite]' discord.py
    DISCORD_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python discord_bot.py
"""

import asyncio
import os
import secrets
import signal

import aiohttp
import discord
from answers import Chat, ChatGoneError, Refusal
from conversations import Conversations

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

UNKNOWN_CHANNEL = 10003


class DiscordChat(Chat):
    """A channel, or direct messages with somebody."""

    limit = 2000
    pause = 1.0
    typing_lasts = 10.0
    failures = (discord.DiscordException, aiohttp.ClientError, OSError)

    def __init__(self, channel: discord.abc.Messageable, key: str) -> None:
        self.scope = key
        self._channel = channel
        self._nonce: int | None = None  # of a message that may have been taken

    def refusal(self, error: Exception) -> Refusal:
        if isinstance(error, discord.Forbidden) or getattr(error, "code", None) == UNKNOWN_CHANNEL:
            return Refusal.NOBODY
        is_no = isinstance(error, discord.HTTPException) and error.code and error.status in (400, 404)
        return Refusal.NEVER if is_no else Refusal.LATER

    async def post(self, text: str) -> discord.Message:
        self._nonce = self._nonce or secrets.randbits(53)  # by which Discord knows a message that it has
        # Else Discord would fetch what a worker links, with whatever is in the address.
        message = await self._channel.send(text, nonce=self._nonce, suppress_embeds=True)
        if message.content.strip() != text.strip():  # it had it, with the words that there were then
            await asyncio.sleep(self.pause)
            await message.edit(content=text, suppress=True)
            await asyncio.sleep(self.pause)
        self._nonce = None
        return message

    async def edit(self, message: discord.Message, text: str) -> None:
        await message.edit(content=text, suppress=True)

    async def typing(self, is_on: bool) -> None:
        if is_on:
            await self._channel.typing()


class DiscordBot(discord.Client):
    """The bot."""

    def __init__(self, manager: SessionManager) -> None:
        # A worker's words notify nobody. No privileged intent is needed for messages that are meant for the bot.
        super().__init__(
            intents=discord.Intents.default(),
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=30.0,  # longer ones are waited for by us, for all messages of the channel
        )
        self._conversations = Conversations(manager, self._find)

    async def _find(self, key: str) -> DiscordChat:
        number = int(key.removeprefix("discord:"))
        try:
            channel = self.get_channel(number) or await self.fetch_channel(number)
        except (discord.NotFound, discord.Forbidden) as error:
            raise ChatGoneError(f"the channel is gone: {error}") from error
        assert isinstance(channel, discord.abc.Messageable)
        return DiscordChat(channel, key)

    async def setup_hook(self) -> None:
        await self._conversations.start()

    async def on_message(self, message: discord.Message) -> None:
        if self.user is None or message.author.bot or not message.content:
            return
        if isinstance(message.channel, discord.DMChannel) or self.user in message.mentions:
            key = f"discord:{message.channel.id}"
            words = message.content.replace(self.user.mention, "").strip()
            self._conversations.hear(key, DiscordChat(message.channel, key), words)

    async def close(self) -> None:
        if not self.is_closed():
            await self._conversations.aclose()
        await super().close()


async def serve(token: str, manager: SessionManager) -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""
    loop = asyncio.get_running_loop()
    async with DiscordBot(manager) as bot:
        running = asyncio.create_task(bot.start(token))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()


async def main() -> None:
    """Connect everything."""
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("discord.db") as store,
        SessionManager(toolhouse, os.environ["AGENT_ID"], store=store, on_missing="restart") as manager,
    ):
        await serve(os.environ["DISCORD_TOKEN"], manager)


if __name__ == "__main__":
    discord.utils.setup_logging()
    asyncio.run(main())
