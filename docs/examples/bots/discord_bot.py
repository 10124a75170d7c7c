"""A Discord bot whose words are those of a worker. It answers direct messages, and whoever mentions it in a channel.

Make an application with a bot at https://discord.com/developers, and invite it with the scopes `bot` and
`applications.commands`, and with the permission to send messages:

    pip install 'toolhouse-async[sqlite]' discord.py
    DISCORD_TOKEN=… TOOLHOUSE_API_KEY=… AGENT_ID=… python discord_bot.py
"""

import asyncio
import logging
import re
import secrets
import signal

import aiohttp
import discord
from answers import Chat, ChatGoneError, Refusal
from commands import COMMANDS, IDLE, greeting, receive
from conversations import Conversations, run, setting
from discord import app_commands
from formatting import GAP, Block, Code, End, Start, Style, Text, in_fences, parse
from splitting import utf16

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

UNKNOWN_CHANNEL = 10003
DONE = "👌"
"""What answers a command; what comes of it is said in the channel, for all who are there."""
SIGNS = {Style.BOLD: "**", Style.ITALIC: "*", Style.STRIKE: "~~"}
HEADINGS = ("# ", "## ", "### ")
MEANING = re.compile(r"(?<=<)(?=[@#:]|a:|t:|id:|/[^<>]{1,100}:\d)|(?<=@)(?=everyone|here)|(?<=\|)(?=\|)")
"""Where a gap has to be, so that a worker's words are no mention, command, emoji, time or spoiler."""

log = logging.getLogger("bot")


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

    def cost(self, character: str) -> int:
        return 2 if character in "<@|" else super().cost(character)  # a gap may be behind it

    def refusal(self, error: Exception) -> Refusal:
        if isinstance(error, discord.Forbidden) or getattr(error, "code", None) == UNKNOWN_CHANNEL:
            return Refusal.NOBODY
        is_no = isinstance(error, discord.HTTPException) and error.code and error.status in (400, 404)
        return Refusal.NEVER if is_no else Refusal.LATER

    async def post(self, text: str) -> discord.Message:
        self._nonce = self._nonce or secrets.randbits(53)  # by which Discord knows a message that it has
        # Else Discord would fetch what a worker links, with whatever is in the address.
        text = self._formatted(text)
        message = await self._channel.send(text, nonce=self._nonce, suppress_embeds=True)
        if message.content.strip() != text.strip():  # it had it, with the words that there were then
            await asyncio.sleep(self.pause)
            await message.edit(content=text, suppress=True)
            await asyncio.sleep(self.pause)
        self._nonce = None
        return message

    async def edit(self, message: discord.Message, text: str) -> None:
        await message.edit(content=self._formatted(text), suppress=True)

    def _formatted(self, text: str) -> str:
        made = markdown(text)
        return made if sum(map(utf16, made)) <= self.limit else MEANING.sub(GAP, text)

    async def typing(self, is_on: bool) -> None:
        if is_on:
            await self._channel.typing()


def markdown(text: str) -> str:
    """A worker's Markdown as Discord's, which is nearly the same."""
    pieces: list[str] = []
    for mark in parse(text):
        match mark:
            case Text(_, source):
                pieces.append(MEANING.sub(GAP, source))
            case Code(_, source):
                pieces.append(source)
            case Block(code, language):
                pieces.append(in_fences(code, language))
            case Start(Style.LINK):
                pieces.append("[")
            case End(Style.LINK, url):
                pieces.append(f"]({url})")
            case Start(_, _, source) if source in HEADINGS:
                pieces.append(source)
            case End(_, _, source) if source in HEADINGS:
                pass
            case Start(style) | End(style):
                pieces.append(SIGNS[style])
    return "".join(pieces)


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
        self._tree = app_commands.CommandTree(self)
        for (name, what), do in zip(COMMANDS.items(), (self._help, self._new, self._stop), strict=True):
            self._tree.add_command(app_commands.Command(name=name, description=what, callback=do))

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
        try:
            await self._tree.sync()
        except DiscordChat.failures as error:  # they work all the same, as messages
            log.warning("Discord does not list the commands: %s", error)

    async def on_message(self, message: discord.Message) -> None:
        has_more = bool(message.attachments or message.stickers or message.poll)
        has_more = has_more or bool(getattr(message, "message_snapshots", ()))  # forwarded; discord.py 2.5 has them
        if self.user is None or message.author.bot or not (message.content or has_more):
            return
        if isinstance(message.channel, discord.DMChannel) or self.user in message.mentions:
            key = f"discord:{message.channel.id}"
            words = message.content.replace(self.user.mention, "").strip()
            receive(self._conversations, key, DiscordChat(message.channel, key), words, has_more=has_more)

    async def _help(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(greeting(), ephemeral=True)

    async def _new(self, interaction: discord.Interaction) -> None:
        channel, key = interaction.channel, f"discord:{interaction.channel_id}"
        assert isinstance(channel, discord.abc.Messageable)
        self._conversations.renew(key, DiscordChat(channel, key))
        await interaction.response.send_message(DONE, ephemeral=True)

    async def _stop(self, interaction: discord.Interaction) -> None:
        channel, key = interaction.channel, f"discord:{interaction.channel_id}"
        assert isinstance(channel, discord.abc.Messageable)
        is_busy = self._conversations.stop(key, DiscordChat(channel, key))
        await interaction.response.send_message(DONE if is_busy else IDLE, ephemeral=True)

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
            try:
                running.result()
            except AttributeError as error:  # so discord.py 2.7 fails where the gateway is away from the start
                if bot.ws is None and isinstance(error.__context__, DiscordChat.failures):
                    raise error.__context__ from None
                raise


async def main() -> None:
    """Connect everything."""
    agent_id = setting("AGENT_ID", "the id of your worker")
    token = setting("DISCORD_TOKEN", "the token of your bot")
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("discord.db") as store,
        SessionManager(toolhouse, agent_id, store=store) as manager,
    ):
        await serve(token, manager)


if __name__ == "__main__":
    discord.utils.setup_logging()
    run(main, *DiscordChat.failures)
