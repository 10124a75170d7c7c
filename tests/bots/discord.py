"""Discord's HTTP API and gateway, as much of them as the bot uses."""

from __future__ import annotations

import asyncio
from typing import Any

import discord_bot
import yarl
from aiohttp import WSMsgType, web
from discord.gateway import DiscordWebSocket
from discord.http import Route

from toolhouse_async import SessionManager

from .platform import Platform, json, most_within

TOKEN = "secret-of-the-bot"
BEAT = 20.0
"""Virtual seconds between signs of life: the client's own come in real time."""


def person(number: str, **more: Any) -> dict[str, Any]:
    """A user."""
    return {"id": number, "username": f"u{number}", "discriminator": "0", "avatar": None, "global_name": None, **more}


ME = person("42", bot=True)


class Discord(Platform):
    """A loopback Discord; users are known by the channel of their direct messages."""

    name = "discord"
    limit = 2000
    key = "discord:7"
    ada, bob = "7", "8"

    def __init__(self, patch: Any) -> None:
        super().__init__(patch)
        self._sockets: list[web.WebSocketResponse] = []
        self._sequence = 1
        self._nonces: dict[str, str] = {}
        self.replies: list[str] = []
        self.takes_sockets = True

    async def say(self, user: str, text: str, **more: Any) -> None:
        self._number += 1
        await self._send("MESSAGE_CREATE", self._message(user, text, str(self._number), person(f"1{user}")) | more)

    async def show(self, user: str, words: str = "", **more: Any) -> None:
        picture = {"id": "1", "filename": "a.png", "size": 1, "url": "http://x", "proxy_url": "http://x"}
        await self.say(user, words, attachments=[picture], **more)

    async def command(self, user: str, name: str) -> None:
        self._number += 1
        ids = {"id": str(self._number), "application_id": "42", "channel_id": user, "token": f"token-of-{user}"}
        where = {"channel": {"id": user, "type": 1}, "user": person(f"1{user}"), "context": 1, "locale": "en-GB"}
        more = {"version": 1, "type": 2, "attachment_size_limit": 1, "data": {"id": "1", "name": name, "type": 1}}
        await self._send("INTERACTION_CREATE", ids | where | more)

    async def _send(self, name: str, data: dict[str, Any]) -> None:
        self._sequence += 1
        await self._sockets[-1].send_json({"op": 0, "t": name, "s": self._sequence, "d": data})

    async def hears(self) -> None:
        await self.until(lambda: bool(self._sockets))
        await asyncio.sleep(3)  # the library waits for two seconds for servers that it is a member of

    async def serve(self, manager: SessionManager) -> None:
        self.patch.setattr(Route, "BASE", self.url)
        self.patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(self.url.replace("http", "ws")) / "gateway")
        await discord_bot.serve(TOKEN, manager)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/users/@me", self._me),
            web.get("/oauth2/applications/@me", self._application),
            web.get("/gateway", self._gateway),
            web.put("/applications/42/commands", self._list),
            web.post("/interactions/{number}/token-of-{user}/callback", self._reply),
            web.get("/channels/{user}", self._channel),
            web.post("/channels/{user}/typing", self._typing),
            web.post("/channels/{user}/messages", self._post),
            web.patch("/channels/{user}/messages/{number}", self._post),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bot {TOKEN}"
        return json(ME)

    async def _application(self, _: web.Request) -> web.Response:
        flags = {"bot_public": True, "bot_require_code_grant": False, "flags": 0, "verify_key": ""}
        return json({"id": "42", "name": "bot", "icon": None, "description": "", "owner": person("1"), **flags})

    async def _list(self, request: web.Request) -> web.Response:
        if not self.takes_lists:
            return json({"code": 50001, "message": "Missing Access"}, 403)
        commands = await request.json()
        self.listed = {each["name"]: each["description"] for each in commands}
        ids = {"application_id": "42", "version": "1", "default_member_permissions": None}
        return json([each | ids | {"id": str(number)} for number, each in enumerate(commands)])

    async def _reply(self, request: web.Request) -> web.Response:
        user, body = request.match_info["user"], await request.json()
        assert body["data"]["flags"] & 64, "nobody else sees it"
        self.replies.append(body["data"]["content"])
        self.called("reply", user)
        return json({"interaction": {"id": request.match_info["number"], "type": 2}})

    async def _channel(self, request: web.Request) -> web.Response:
        if request.match_info["user"] in self.gone_users:
            return json({"code": 10003, "message": "Unknown Channel"}, 404)
        return json({"id": request.match_info["user"], "type": 1, "recipients": [person("17")], "flags": 0})

    async def _typing(self, request: web.Request) -> web.Response:
        self.called("typing", request.match_info["user"])
        return web.Response(status=204)

    async def _post(self, request: web.Request) -> web.Response:
        user, number = request.match_info["user"], request.match_info.get("number")
        refusal = await self.refusal(user)
        if refusal is not None:
            return refusal
        body = await request.json()
        assert body["allowed_mentions"]["parse"] == []
        assert body["flags"] & 4, "the links of the message would be fetched"
        self.called("post" if number is None else "edit", user, body["content"])
        known = self._nonces.get(str(body.get("nonce")))
        if known is None:
            known = self.shown(user, body["content"], number)
        if number is None:
            assert body["enforce_nonce"]
            self._nonces[str(body["nonce"])] = known
        return self.answered(request, json(self._message(user, self.text_of(known) or "", known, ME)))

    def _message(self, user: str, text: str, number: str, author: dict[str, Any]) -> dict[str, Any]:
        empty: dict[str, Any] = {"mentions": [], "mention_roles": [], "attachments": [], "embeds": []}
        times = {"timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None}
        flags = {"tts": False, "mention_everyone": False, "pinned": False, "type": 0}
        return {"id": number, "channel_id": user, "author": author, "content": text, **empty, **times, **flags}

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if not self.takes_sockets:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 3_600_000}})
        while (await socket.receive_json())["op"] != 2:
            pass
        gateway = self.url.replace("http", "ws") + "/gateway"
        ready = {"v": 10, "user": ME, "guilds": [], "private_channels": [], "session_id": "s"}
        more = {"resume_gateway_url": gateway, "application": {"id": "42", "flags": 0}}
        await socket.send_json({"op": 0, "t": "READY", "s": 1, "d": ready | more})
        self._sockets.append(socket)
        beating = asyncio.create_task(self._beat(socket))
        try:
            async for message in socket:
                assert message.type == WSMsgType.TEXT
        finally:
            self._sockets.remove(socket)
            beating.cancel()
        return socket

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(BEAT)
            await socket.send_json({"op": 11})

    def gone(self) -> web.Response:
        """The refusal of an edit whose message is gone."""
        return json({"code": 10008, "message": "Unknown Message"}, 404)

    def nobody(self) -> web.Response:
        """The refusal of a message to a chat that is gone."""
        return json({"code": 50007, "message": "Cannot send messages to this user"}, 403)

    def too_many(self, seconds: int = 7) -> web.Response:
        """The refusal of a call too many."""
        told = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
        return json(told, 429, Via="1.1 google")

    def check_pace(self) -> None:
        for user in (self.ada, self.bob):
            assert most_within(self.times(user, "post", "edit"), 4.9) <= 5
