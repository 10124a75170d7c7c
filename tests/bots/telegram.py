"""The Bot API of Telegram, as much of it as the bot uses."""

from __future__ import annotations

import asyncio
import json as plain_json
import re
from html import unescape
from typing import Any

import python_telegram_bot
import telegram_bot
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web
from telegram.ext import Application

from toolhouse_async import SessionManager

from .platform import Platform, json, most_within

TOKEN = "42:secret-of-the-bot"
HTML = re.compile(
    r'<(?P<end>/)?(?P<tag>b|i|s|code|pre|a)(?P<attribute> (?:href="https?://[^"<>]+"|class="language-[\w+#.-]+"))?>'
    "|&(?:lt|gt|amp|quot|#x27);|(?P<bad>[<>&])|[^<>&]+"
)
ME = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "bot"}


class Telegram(Platform):
    """A loopback Telegram; users are known by the number of their chat."""

    name = "telegram"
    limit = 4096
    key = "telegram:7"
    ada, bob = "7", "8"

    def __init__(self, patch: Any) -> None:
        super().__init__(patch)
        self._updates: list[dict[str, Any]] = []
        self._new = asyncio.Event()
        self._update = 0
        self._polls = 0
        self.reads_html = True
        self.takes_token = True
        self.takes_polls = True

    async def say(self, user: str, text: str, **chat: Any) -> None:
        await self.send(user, {"text": text}, **chat)

    async def show(self, user: str, words: str = "", **more: Any) -> None:
        photo = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
        await self.send(user, {"photo": photo, **({"caption": words} if words else {}), **more})

    async def command(self, user: str, name: str) -> None:
        await self.say(user, f"/{name}")

    async def send(self, user: str, content: dict[str, Any], *, kind: str = "message", **chat: Any) -> None:
        """Send the bot a message with any content, or another update about one."""
        self._update += 1
        self._number += 1
        message = {
            "message_id": self._number,
            "date": 1,
            "chat": {"id": int(user), "type": "private", **chat},
            "from": {"id": int(user), "is_bot": False, "first_name": "User"},
            **content,
        }
        self._updates.append({"update_id": self._update, kind: message})
        self._new.set()

    async def hears(self) -> None:
        polls = self._polls
        await self.until(lambda: self._polls > polls)

    async def serve(self, manager: SessionManager) -> None:
        server = TelegramAPIServer.from_base(self.url)
        await telegram_bot.serve(Bot(TOKEN, session=AiohttpSession(api=server)), manager)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/bot{token}/{method}", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.match_info["token"] == TOKEN
        form: dict[str, Any] = dict(await request.post())
        method = request.match_info["method"]
        if not self.takes_token:
            return failed(401, "Unauthorized")
        if method == "getMe":
            return ok(ME)
        if method == "deleteWebhook":
            return ok(True)
        if method == "getUpdates" and not self.takes_polls:
            return failed(502, "Bad Gateway")
        if method == "getUpdates":
            return ok(await self._take(int(form.get("offset", 0)), int(form.get("timeout", 0))))
        if method == "setMyCommands":
            if not self.takes_lists:
                return failed(500, "Internal Server Error")
            self.listed = {each["command"]: each["description"] for each in plain_json.loads(form["commands"])}
            return ok(True)
        user = form["chat_id"]
        if method == "sendChatAction":
            self.called("typing", user, form["action"])
            return ok(True)
        return await self._take_message(request, method, user, form)

    async def _take_message(self, request: web.Request, method: str, user: str, form: dict[str, Any]) -> web.Response:
        refusal = await self.refusal(user)
        if refusal is not None:
            return refusal
        self.called({"sendMessage": "post", "editMessageText": "edit"}[method], user, form["text"])
        text = form["text"]
        if "parse_mode" in form:
            assert form["parse_mode"] == "HTML"
            seen = seen_in(text) if self.reads_html else None
            if seen is None:
                return failed(400, "Bad Request: can't parse entities: Unsupported start tag at byte offset 0")
            text = seen
        assert plain_json.loads(form["link_preview_options"])["is_disabled"] is True
        if "message_id" in form and form["text"] == self._written.get(form["message_id"]):
            return failed(400, "Bad Request: message is not modified: it has exactly this content already")
        number = self.shown(user, text, form.get("message_id"), form["text"])
        chat = {"id": int(user), "type": "private"}
        return self.answered(request, ok({"message_id": int(number), "date": 1, "chat": chat, "text": text}))

    async def _take(self, offset: int, seconds: int) -> list[dict[str, Any]]:
        self._updates = [update for update in self._updates if update["update_id"] >= offset]
        self._polls += 1
        if not seconds:  # python-telegram-bot says so that it has what came before, as it stops
            self.called("last poll", "")
        if not self._updates:
            self._new.clear()
            try:
                await asyncio.wait_for(self._new.wait(), seconds)
            except TimeoutError:
                return []
        return self._updates

    def gone(self) -> web.Response:
        """The refusal of an edit whose message is gone."""
        return failed(400, "Bad Request: message to edit not found")

    def nobody(self) -> web.Response:
        """The refusal of a message to a chat that is gone."""
        return failed(403, "Forbidden: bot was blocked by the user")

    def too_many(self, seconds: int = 7) -> web.Response:
        """The refusal of a call too many."""
        return failed(429, f"Too Many Requests: retry after {seconds}", parameters={"retry_after": seconds})

    def check_pace(self) -> None:
        for user in (self.ada, self.bob):
            times = self.times(user, "post", "edit")
            assert most_within(times, 0.5) <= 1
            assert most_within(times, 10) <= 11


class PythonTelegram(Telegram):
    """The same, for the bot with python-telegram-bot."""

    label = "python-telegram"

    async def serve(self, manager: SessionManager) -> None:
        application = Application.builder().token(TOKEN).base_url(f"{self.url}/bot").build()
        try:
            await python_telegram_bot.serve(application, manager)
        finally:
            await application.bot.shutdown()  # which the library leaves open where its start fails


def seen_in(html: str) -> str | None:
    """What people see of HTML, which is read as strictly as Telegram does; ``None`` if it is none."""
    seen: list[str] = []
    tags: list[str] = []
    for found in HTML.finditer(html):
        tag, attribute = found["tag"], (found["attribute"] or " ").lstrip().partition("=")[0]
        if found["bad"]:
            return None
        if not tag:
            seen.append(unescape(found[0]))
        elif found["end"]:
            if attribute or not tags or tags.pop() != tag:
                return None
        elif attribute != (
            "href" if tag == "a" else "class" if attribute and tag == "code" and tags[-1:] == ["pre"] else ""
        ):
            return None
        else:
            tags.append(tag)
    return None if tags else "".join(seen)


def ok(result: Any) -> web.Response:
    """A call that went well."""
    return json({"ok": True, "result": result})


def failed(status: int, why: str, **more: Any) -> web.Response:
    """A call that did not."""
    return json({"ok": False, "error_code": status, "description": why, **more}, status)
