"""Requests that clients send again by themselves."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

__all__ = ["Attempts"]

KEPT: Final = 1000
"""Refused requests that are remembered."""


class Attempts:
    """Knows which requests were not accepted, so that their repetitions can be.

    OpenAI's package sends a request again also where the connection broke or nothing came in time. The worker may have
    had the message then, so a repetition is let in only where the attempt before it was refused here. Requests have no
    names: they are told apart by what they say.
    """

    def __init__(self) -> None:
        self._refused: OrderedDict[bytes, None] = OrderedDict()

    def admits(self, request: bytes, repetition: str | None) -> bool:
        """Whether a request may go on.

        Args:
            request: What :meth:`name` made of it.
            repetition: How often it was sent before, as the client says (``x-stainless-retry-count``).
        """
        was_refused = request in self._refused
        self._refused.pop(request, None)
        return was_refused or repetition in (None, "0")

    def refused(self, request: bytes) -> None:
        """Note that it was not accepted, and that the client has been told to send it again."""
        self._refused[request] = None
        if len(self._refused) > KEPT:
            self._refused.popitem(last=False)

    @staticmethod
    def name(*parts: bytes) -> bytes:
        """What stands for a request that says this."""
        digest = blake2b(digest_size=16)
        for part in parts:
            digest.update(b"%d:" % len(part) + part)
        return digest.digest()
