"""A Slack app whose words are those of a worker.

Each thread is a conversation; it begins with a direct message to the app, or with a mention in a channel. Make an app
at https://api.slack.com/apps with the bot scopes `app_mentions:read`, `chat:write` and `im:history`, and the events
`app_mention` and `message.im`, sent to https://YOUR-HOST/slack/events:

    pip install 'toolhouse-async[sqlite]' slack-bolt aiohttp
    SLACK_BOT_TOKEN=… SLACK_SIGNING_SECRET=… TOOLHOUSE_API_KEY=… AGENT_ID=… python slack_bot.py
"""

import asyncio
import logging
import re
import signal
from collections.abc import Iterator
from typing import Any

from aiohttp import ClientError, web
from answers import Chat, Refusal
from commands import receive
from conversations import Conversations, run, setting
from formatting import GAP, Block, Code, End, Mark, Start, Style, Text, in_fences, parse
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from splitting import utf16

from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""So that a worker's words mention nobody and are shown as they are."""
SIGNS = {Style.BOLD: "*", Style.ITALIC: "_", Style.STRIKE: "~"}
NOBODY = {"channel_not_found", "is_archived", "not_in_channel", "thread_not_found", "account_inactive"}
SAID = (None, "file_share", "thread_broadcast", "me_message")
"""What people say is of these subtypes; others tell that something was changed, pinned, …"""
NEVER = {"message_not_found", "cant_update_message", "edit_window_closed", "msg_too_long", "no_text", "invalid_blocks"}

log = logging.getLogger("bot")


class SlackChat(Chat):
    """A thread."""

    limit = 4000
    pause = 1.2  # fifty edits a minute
    scope = "slack"  # in all chats of the workspace together
    typing_lasts = 120.0
    failures = (SlackClientError, ClientError, TimeoutError)

    def __init__(self, client: AsyncWebClient, key: str) -> None:
        self._client = client
        _, self._channel, self._thread = key.split(":")

    def cost(self, character: str) -> int:
        if character == "*":
            return 2  # a gap may be beside it
        return len(ESCAPES.get(character, "")) or super().cost(character)

    def refusal(self, error: Exception) -> Refusal:
        data = getattr(error.response, "data", None) if isinstance(error, SlackApiError) else None
        why = data.get("error") if isinstance(data, dict) else None
        if why in NOBODY:
            return Refusal.NOBODY
        return Refusal.NEVER if why in NEVER else Refusal.LATER

    def asked_for(self, error: Exception) -> float | None:
        asked = error.response.headers.get("Retry-After", "") if isinstance(error, SlackApiError) else ""
        return float(asked) if asked.isdigit() else None

    async def post(self, text: str) -> str:
        answer = await self._client.chat_postMessage(
            channel=self._channel,
            thread_ts=self._thread,
            text=self._formatted(text),
            unfurl_links=False,  # else Slack would fetch what a worker links, with whatever is in the address
            unfurl_media=False,
        )
        return str(answer["ts"])

    async def edit(self, message: str, text: str) -> None:
        await self._client.chat_update(channel=self._channel, ts=message, text=self._formatted(text))

    def _formatted(self, text: str) -> str:
        made = mrkdwn(text)
        return made if sum(map(utf16, made)) <= self.limit else escaped(text)

    async def typing(self, is_on: bool) -> None:
        await self._client.assistant_threads_setStatus(
            channel_id=self._channel, thread_ts=self._thread, status="is typing…" if is_on else ""
        )


def escaped(text: str) -> str:
    """The text as Slack shows it as it is."""
    return "".join(ESCAPES.get(character, character) for character in text)


def mrkdwn(text: str) -> str:
    """A worker's Markdown as Slack's, in which nothing but links to pages is more than text."""
    pieces: list[str] = []
    styles: list[str] = []
    marks = list(_plain_labels(parse(text)))
    for number, mark in enumerate(marks):
        match mark:
            case Start(Style.LINK, url):
                pieces.append(f"<{escaped(url).replace('|', '%7C')}|")
            case End(Style.LINK):
                pieces.append(">")
            case Start(style):
                pieces.append(GAP * (bool(pieces) and pieces[-1][-1].isalnum()) + SIGNS[style])
                styles.append(SIGNS[style])
            case End():
                after = marks[number + 1 : number + 2]
                is_before_letter = bool(after) and isinstance(after[0], Text) and after[0].text[0].isalnum()
                pieces.append(styles.pop() + GAP * is_before_letter)
            case Text(words):
                between = "".join(reversed(styles)) + "\n" + "".join(styles)  # a style ends with its line
                pieces.append(escaped(words).replace("\n", between))
            case Code(words, source):
                pieces.append(escaped(source) if "`" in words else f"`{escaped(words)}`")
            case Block(code):
                pieces.append(escaped(in_fences(code)))
    return "".join(pieces)


def _plain_labels(marks: list[Mark]) -> Iterator[Mark]:
    """Leave out the styles within links, which Slack has not."""
    is_label = False
    for mark in marks:
        if isinstance(mark, Start | End) and mark.style is Style.LINK:
            is_label = isinstance(mark, Start)
            yield mark
        elif is_label and isinstance(mark, Code):
            yield Text(*mark)
        elif not (is_label and isinstance(mark, Start | End)):
            yield mark


def unescaped(text: str) -> str:
    """What somebody typed, without mentioning the app first."""
    text = re.sub(r"^\s*<@\w+>", "", text)
    for character, escape in reversed(ESCAPES.items()):
        text = text.replace(escape, character)
    return text.strip()


async def serve(app: AsyncApp, manager: SessionManager, port: int) -> None:
    """Answer until the program is told to stop (SIGTERM, Ctrl-C)."""
    client = app.client

    async def find(key: str) -> SlackChat:
        return SlackChat(client, key)

    async def hear(body: dict[str, Any], event: dict[str, Any]) -> None:
        is_chatter = event.get("bot_id") or event.get("subtype") not in SAID
        has_more = bool(event.get("files"))
        if is_chatter or not (event.get("text") or has_more) or body["event_id"] in seen:
            return
        seen[body["event_id"]] = None  # Slack sends an event again where it had no answer in three seconds
        if len(seen) > 10_000:
            del seen[next(iter(seen))]
        key = f"slack:{event['channel']}:{event.get('thread_ts') or event['ts']}"
        words = unescaped(event.get("text") or "")
        receive(conversations, key, SlackChat(client, key), words, mark="", has_more=has_more)  # "/" is Slack's own

    async def hear_directly(body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("channel_type") == "im":
            await hear(body, event)

    seen: dict[str, None] = {}
    conversations = Conversations(manager, find)
    app.event("app_mention")(hear)
    app.event("message")(hear_directly)

    await client.auth_test()  # else nobody would hear that Slack is away, or does not take the token
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    runner = web.AppRunner(app.web_app())
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        log.info("events are taken at port %d: http://localhost:%d/slack/events", port, port)
        await conversations.start()
        await stopped.wait()
    finally:
        await conversations.aclose()
        await runner.cleanup()


async def main() -> None:
    """Connect everything."""
    agent_id = setting("AGENT_ID", "the id of your worker")
    token = setting("SLACK_BOT_TOKEN", "the bot token of your app")
    secret = setting("SLACK_SIGNING_SECRET", "the signing secret of your app")
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("slack.db") as store,
        SessionManager(toolhouse, agent_id, store=store) as manager,
    ):
        await serve(AsyncApp(token=token, signing_secret=secret), manager, port=3000)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(main, *SlackChat.failures)
