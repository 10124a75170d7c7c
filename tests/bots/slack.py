"""Slack's Web API, and the events that it sends, as much of them as the bot uses."""

from __future__ import annotations

import asyncio
import json as plain_json
import re
import time
from typing import Any

import slack_bot
from aiohttp import ClientSession, web
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.support.answers import unused_port
from toolhouse_async import SessionManager

from .platform import Platform, json, most_within

TOKEN = "xoxb-secret-of-the-bot"
SECRET = "secret-of-the-events"
LINK = re.compile(r"<https?://[^\s<>|]+\|([^<>]+)>")


class Slack(Platform):
    """A loopback Slack; users are known by the channel and the thread in which they talk with the bot."""

    name = "slack"
    limit = 4000
    key = "slack:D7:7.001"
    ada, bob = "D7:7.001", "D8:8.001"

    def __init__(self, patch: Any) -> None:
        super().__init__(patch)
        self.takes_token = True
        self.events = f"http://127.0.0.1:{unused_port()}/slack/events"

    def event(self, user: str, text: str, **more: Any) -> dict[str, Any]:
        """A message, as Slack sends it."""
        channel, thread = user.split(":")
        self._number += 1
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("&lt;@U42&gt;", "<@U42>")
        event = {"type": "message", "channel_type": "im", "channel": channel, "user": "U7", "text": text, "ts": thread}
        if self.screen(user):
            event |= {"thread_ts": thread, "ts": f"{self._number}.001"}
        ids = {"team_id": "T1", "api_app_id": "A1", "event_id": f"Ev{self._number}", "event_time": 1}
        return {"type": "event_callback", "token": "t", "event": event | more, **ids}

    async def say(self, user: str, text: str, **more: Any) -> None:
        assert await self.send(self.event(user, text, **more)) == 200

    async def show(self, user: str, words: str = "", **more: Any) -> None:
        await self.say(user, words, subtype="file_share", files=[{"id": "F1"}], **more)

    async def command(self, user: str, name: str) -> None:
        await self.say(user, name.capitalize())  # as telephones write the first word

    async def send(self, event: dict[str, Any], secret: str = SECRET, at: float | None = None) -> int:
        """Send an event; return the status of the answer."""
        body, timestamp = plain_json.dumps(event), str(int(at or time.time()))
        signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
        signed = {"X-Slack-Signature": str(signature), "X-Slack-Request-Timestamp": timestamp}
        headers = {"Content-Type": "application/json", **signed}
        async with ClientSession() as session, session.post(self.events, data=body, headers=headers) as response:
            return response.status

    async def hears(self) -> None:
        port = int(self.events.split(":")[2].split("/")[0])
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return

    async def serve(self, manager: SessionManager) -> None:
        app = AsyncApp(client=AsyncWebClient(TOKEN, base_url=f"{self.url}/api/"), signing_secret=SECRET)
        await slack_bot.serve(app, manager, port=int(self.events.split(":")[2].split("/")[0]))

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/{method}", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        method = request.match_info["method"]
        if method == "auth.test" and not self.takes_token:
            return json({"ok": False, "error": "invalid_auth"})
        if method == "auth.test":
            return json({"ok": True, "user_id": "U42", "bot_id": "B42", "team_id": "T1", "team": "t", "user": "bot"})
        body = await request.json()
        if method == "assistant.threads.setStatus":
            user = f"{body['channel_id']}:{body['thread_ts']}"
            self.called("typing" if body["status"] else "typing is over", user, body["status"])
            return json({"ok": True})
        assert len(body["text"]) <= self.limit, "the message is too long"
        text = LINK.sub(r"\1", body["text"])
        assert not set("<>") & set(text), "a worker could mention somebody"
        if method == "chat.postMessage":
            assert (body["unfurl_links"], body["unfurl_media"]) == (False, False), "links would be fetched"
        text = slack_bot.unescaped(text)
        number = body.get("ts")
        user = self.user_of(number) if number else f"{body['channel']}:{body['thread_ts']}"
        assert user is not None
        refusal = await self.refusal(user)
        if refusal is not None:
            return refusal
        self.called({"chat.postMessage": "post", "chat.update": "edit"}[method], user, text)
        answer = json({"ok": True, "channel": body["channel"], "ts": self.shown(user, text, number, body["text"])})
        return self.answered(request, answer)

    def gone(self) -> web.Response:
        """The refusal of an edit whose message is gone."""
        return json({"ok": False, "error": "message_not_found"})

    def nobody(self) -> web.Response:
        """The refusal of a message to a chat that is gone."""
        return json({"ok": False, "error": "is_archived"})

    def too_many(self, seconds: int = 7) -> web.Response:
        """The refusal of a call too many."""
        return json({"ok": False, "error": "ratelimited"}, 429, **{"Retry-After": str(seconds)})

    def check_pace(self) -> None:
        edits = sorted(self.times(self.ada, "edit") + self.times(self.bob, "edit"))
        assert most_within(edits, 60) <= 51
        for user in (self.ada, self.bob):
            assert most_within(self.times(user, "post"), 0.5) <= 1
