"""One resume for all who wait on a run: the message is sent once, and each reads the same answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from copy import copy
from typing import Any, Final

from .._http.port import Answer, Cut, Dispatch
from .._turn.heard import Said
from .._wire.requests import Format
from ..errors import ToolhouseError
from .queue import Holder

KEPT: Final = 1024 * 1024
"""Bytes of an answer that are kept for readers who come while it is being read."""


class SharedResume:
    """The sending of one message and its answer, for several readers.

    It is sent by a task of its own, so that a reader who leaves does not take the request away from the others; the
    last one to leave ends it. The answer is read by whoever wants more of it. Its beginning is kept for those who come
    later, up to ``KEPT`` bytes.

    Attributes:
        format: The endpoint family that it was sent to.
        said: The message.
        dispatch: How far it has come.
    """

    def __init__(
        self,
        send: Coroutine[Any, Any, Answer],
        dispatch: Dispatch,
        *,
        format: Format,  # noqa: A002 - the API's word
        said: Said,
    ) -> None:
        self.format: Format = format
        self.said = said
        self.dispatch = dispatch
        self._taps: dict[Tap, Holder] = {}
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._sending = asyncio.get_running_loop().create_task(send)
        self._sending.add_done_callback(self._sent)
        self._answer: Answer | None = None
        self._end: ToolhouseError | Cut | None = None
        self._over = False
        self._driven = False
        self._news: asyncio.Future[None] | None = None

    def join(self, reader: Holder) -> Tap:
        """A reader more, who gets the answer from its first byte."""
        tap = Tap(self)
        tap.pending.extend(self._kept)
        self._taps[tap] = reader
        return tap

    @property
    def may_join(self) -> bool:
        """Whether the answer is under way and there from its first byte."""
        return bool(self._taps) and not self._over and self._kept_size <= KEPT

    @property
    def is_over(self) -> bool:
        """Whether the answer was read to a good end."""
        return self._over and self._end is None

    def others(self, tap: Tap) -> list[Holder]:
        """The readers beside one."""
        return [reader for other, reader in self._taps.items() if other is not tap]

    def _sent(self, task: asyncio.Task[Answer]) -> None:
        if task.cancelled() or task.exception() is not None:
            return
        self._answer = task.result()
        if not self._taps:
            self._answer.close()

    async def answer(self) -> Answer:
        """Wait until the service has answered.

        Raises:
            ToolhouseError: It has not, or with an error; each reader gets one of their own.
        """
        try:
            answer = await asyncio.shield(self._sending)
        except ToolhouseError as error:
            failure = copy(error)
        else:
            self._answer = answer  # the callback of the sending may be yet to run
            return answer
        raise failure

    async def read(self, tap: Tap) -> None:
        """Read on until there is something for ``tap``, or the answer is at its end."""
        answer = self._answer
        assert answer is not None  # noqa: S101 - readers come here with the answer
        while not tap.pending and not self._over:
            if self._driven:
                if self._news is None:
                    self._news = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._news)
                continue
            self._driven = True
            try:
                await self._read_once(answer)
            finally:
                self._driven = False
                news, self._news = self._news, None
                if news is not None:
                    news.set_result(None)
        if not tap.pending and self._end is not None:
            raise copy(self._end)

    async def _read_once(self, answer: Answer) -> None:
        try:
            data = await answer.read()
        except (Cut, ToolhouseError) as error:
            self._end, self._over = error, True
            return
        self._over = not data
        self._kept_size += len(data)
        if self._kept_size <= KEPT:
            self._kept.append(data)
        else:
            self._kept.clear()
        for tap in self._taps:
            tap.pending.append(data)

    def leave(self, tap: Tap) -> None:
        """A reader less; the last one closes the connection."""
        if self._taps.pop(tap, None) is not None and not self._taps:
            self._sending.cancel()
            if self._answer is not None:
                self._answer.close()

    @property
    def current(self) -> Answer:
        """The answer, which must be there."""
        assert self._answer is not None  # noqa: S101 - see read()
        return self._answer


class Tap:
    """One reader's view of a shared answer; what a stream of events reads from, like an answer of its own."""

    def __init__(self, shared: SharedResume) -> None:
        self.shared = shared
        self.pending: deque[bytes] = deque()

    @property
    def run_id(self) -> str | None:
        """The run id in the answer's headers."""
        return self.shared.current.run_id

    @property
    def job_id(self) -> str | None:
        """The job in the answer's headers."""
        return self.shared.current.job_id

    def redact(self, text: str) -> str:
        """Black the key out of what the answer said."""
        return self.shared.current.redact(text)

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers as a mapping."""
        return self.shared.current.headers

    @property
    def framed(self) -> bool:
        """Whether the end of the body is proven by its framing."""
        return self.shared.current.framed

    @property
    def idle(self) -> float | None:
        """Seconds that may pass between its bytes: for all alike, as the one who has sent the resume has it."""
        return self.shared.current.idle

    @property
    def waiting_since(self) -> float | None:
        """Since when bytes have been waited for."""
        return self.shared.current.waiting_since

    @property
    def at_end(self) -> bool:
        """Whether the next reading gives nothing."""
        return self.shared.is_over and not self.pending

    async def read(self) -> bytes:
        """The next bytes; see :meth:`Answer.read`."""
        if self.pending:
            await asyncio.sleep(0)  # to let others run between pieces that are here already
        else:
            await self.shared.read(self)
        return self.pending.popleft() if self.pending else b""

    def rest(self) -> bytes:
        """What was received and not read yet."""
        data = b"".join(self.pending)
        self.pending.clear()
        return data

    def fail(self, reason: str) -> None:
        """End the body here, for all."""
        self.shared.current.fail(reason)

    def close(self) -> None:
        """Leave. Idempotent."""
        self.shared.leave(self)
