"""The options of a turn: as users write them, and checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final, Literal, TypedDict

from attrs import field, frozen

from .._wire.writing import dumps
from ..errors import ConfigurationError
from .headers import check_headers
from .numeric import plain_number
from .settings import Timeouts


class TurnOptions(TypedDict, total=False):
    """Keyword options of a turn; all may be left out.

    Attributes:
        format: ``"ndjson"`` (default) gives tool calls too, ``"text"`` only the worker's words.
        background: ``"resume"`` (default) waits for background jobs and resumes the run; ``"detach"`` ends the
            turn with a token instead.
        on_conflict: What to do when a job is running already: ``"wait"`` (default) for it, then send the
            message; or ``"raise"`` :class:`~toolhouse_async.ConflictError`.
        resume_message: The message of an automatic resume; default ``""``.
        recover: Whether a cut answer is healed from the history; default ``True``.
        settle: Whether the history is looked at once an answer has ended, to compare the words and to find a job that
            began in mid-stream: always, never, or ``"auto"`` (default): where the framing proved no end, no words came,
            a tool was called, or the format is text.
        timeout: Seconds for the whole turn, waiting included; default ``None``, for ever.
        extra_body: More fields for the body of the user's own POST or PUT; an automatic resume does not have them. The
            message is not one of them.
        headers: More headers for this turn's requests, its polls and readings of the history included; in place of the
            client's of the same name. What the client sets itself is refused, as there.
        timeouts: Times to wait in this turn's requests, in place of the client's :class:`~toolhouse_async.Timeouts`.

    Turns that wait for the same job share its polls only where their ``headers`` and ``timeouts`` are equal too. They
    always share its resume, which has those of the turn that sends it.
    """

    format: Literal["ndjson", "text"]
    background: Literal["resume", "detach"]
    on_conflict: Literal["wait", "raise"]
    resume_message: str
    recover: bool
    settle: Literal["auto"] | bool
    timeout: float | None
    extra_body: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    timeouts: Timeouts | None


def check_timeout(timeout: object) -> float | None:
    """Refuse what is not a number of seconds or ``None``.

    Returns:
        It, as a plain number.

    Raises:
        ConfigurationError: It is not.
    """
    if timeout is None:
        return None
    seconds: float = plain_number(timeout)
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise ConfigurationError(f"timeout must be seconds or None, not {timeout!r:.80}")
    return seconds


@frozen(eq=False, repr=False)
class Options:
    """The same, complete and checked.

    Attributes:
        terms: What the turn's requests have of their own, to compare that with others'; ``None`` where it is nothing.
    """

    format: Literal["ndjson", "text"] = "ndjson"
    background: Literal["resume", "detach"] = "resume"
    on_conflict: Literal["wait", "raise"] = "wait"
    resume_message: str = ""
    recover: bool = True
    settle: Literal["auto"] | bool = "auto"
    timeout: float | None = field(default=None, converter=check_timeout)
    extra_body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    timeouts: Timeouts | None = None
    terms: Hashable = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
                choices = " or ".join(repr(choice) for choice in allowed)
                raise ConfigurationError(f"{name} must be {choices}, not {value!r:.80}")
        if not isinstance(self.resume_message, str):
            raise ConfigurationError(f"resume_message must be a string, not {self.resume_message!r:.80}")
        if not self.resume_message.isascii():
            check_json("resume_message", self.resume_message)
        if self.extra_body is not None:
            _check_fields(self.extra_body)
        if self.headers is not None:
            object.__setattr__(self, "headers", check_headers(self.headers))  # a copy, which nobody changes
        if self.timeouts is not None and not isinstance(self.timeouts, Timeouts):
            raise ConfigurationError(f"timeouts must be Timeouts or None, not {self.timeouts!r:.80}")
        if self.headers or self.timeouts is not None:
            object.__setattr__(self, "terms", (frozenset((self.headers or {}).items()), self.timeouts))


def _check_fields(extra_body: object) -> None:
    if not isinstance(extra_body, Mapping):
        raise ConfigurationError(f"extra_body must be a mapping, not {extra_body!r:.80}")
    if "message" in extra_body:  # the history would have other words than the turn looks for
        raise ConfigurationError("extra_body must not have 'message': pass that as the message")
    check_json("extra_body", extra_body)


_ALLOWED: Mapping[str, tuple[object, ...]] = {
    "format": ("ndjson", "text"),
    "background": ("resume", "detach"),
    "on_conflict": ("wait", "raise"),
    "recover": (True, False),
    "settle": ("auto", True, False),
}


_NEAR: Final = 0.75
"""How like a known name an unknown one is that may be meant for it, from 0 to 1."""


def check_known(options: Collection[str], own: Collection[str] = ()) -> None:
    """Refuse what is no option of a turn.

    Args:
        options: The names that were given.
        own: Options that the method takes beside those of a turn.

    Raises:
        ConfigurationError: It is none; the message says which there are.
    """
    unknown = sorted(set(options).difference(TurnOptions.__annotations__))
    if unknown:
        hint = _hint(unknown, {*TurnOptions.__annotations__, *own})
        if {"vars", "toolhouse_id", "bundle"}.issuperset(unknown):
            named, sent = ", ".join(f"{name}=…" for name in unknown), ", ".join(f"{name!r}: …" for name in unknown)
            hint = (
                f"these are a session's: toolhouse.session(agent_id, {named}), "
                f"or of all keys: SessionManager(toolhouse, agent_id, {named}); of one turn: extra_body={{{sent}}}"
            )
        raise ConfigurationError(f"unknown options: {', '.join(unknown)} ({hint})")


def check_known_to_a_manager(options: Collection[str], known: Collection[str], own: Collection[str]) -> None:
    """Refuse what no manager of sessions takes.

    Args:
        options: The names that were given.
        known: The options of its sessions.
        own: What it takes beside those.

    Raises:
        ConfigurationError: It does not take one; the message says which there are.
    """
    unknown = sorted(set(options).difference(known))
    if unknown:
        hint = _hint(unknown, {*known, *own})
        if set(unknown).issubset(TurnOptions.__annotations__):
            hint = f"these are a turn's: sessions.send(key, message, {', '.join(f'{name}=…' for name in unknown)})"
        raise ConfigurationError(f"unknown session options: {', '.join(unknown)} ({hint})")


def _hint(unknown: Collection[str], known: Collection[str]) -> str:
    """Which names there are, and which may be meant."""
    import difflib  # here, since few programs need it

    near = [repr(each) for name in unknown for each in difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)]
    return (f"did you mean {', '.join(near)}? " if near else "") + f"there are {', '.join(sorted(known))}"


def check_count(value: object, what: str) -> int:
    """Refuse what is no whole number of at least one.

    Returns:
        It, as a plain number.

    Raises:
        ConfigurationError: It is not.
    """
    count: int = plain_number(value)
    if type(count) is not int or count < 1:
        raise ConfigurationError(f"{what} must be a whole number of at least 1, not {value!r:.80}")
    return count


def check_seconds(value: object, what: str) -> float:
    """Refuse what is no number of seconds above zero.

    Returns:
        It, as a plain number.

    Raises:
        ConfigurationError: It is not.
    """
    seconds: float = plain_number(value)
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"{what} must be seconds above zero, not {value!r:.80}")
    return seconds


def check_message(message: object) -> None:
    """Refuse a message that is not text.

    Raises:
        ConfigurationError: It is neither a string that can be sent nor ``None``.
    """
    if message is not None and not isinstance(message, str):
        raise ConfigurationError(f"a message must be a string, not {type(message).__name__}")
    if message and not message.isascii():
        check_json("the message", message)


def check_json(name: str, value: object) -> None:
    """Refuse what cannot be sent as JSON, just as it is.

    Raises:
        ConfigurationError: It cannot; the message says where and why.
    """
    try:
        dumps(dict(value) if isinstance(value, Mapping) else value)
    except ValueError as error:
        raise ConfigurationError(f"{name} {error}") from None
