"""The service's truth, and the adversary who decides what the client gets to see of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import orjson
from attrs import define, field

from .choices import Choices
from .switches import Switches

AGENT: Final = "worker"
LAG: Final = 2.0
"""Seconds for which a history may hide an entry."""
LATE: Final = 6.0
"""Seconds after which an answer that nobody reads is recorded, where answers are recorded at their end."""
PATIENCE: Final = 2
"""Looks that a job survives."""
REFUSALS: Final = 2
"""How often the service may say 409 without a job."""
REQUESTS: Final = 150
"""More than any sound client needs."""


class NotSent(Exception):  # noqa: N818 - a signal
    """The request does not reach the service."""


class Lost(Exception):  # noqa: N818 - a signal
    """The request was sent, and no answer comes."""


class Cut(Exception):  # noqa: N818 - a signal
    """The answer's body ends before its framing said so."""


class Stuck(Exception):  # noqa: N818 - a signal
    """The client goes on sending requests without end."""


@define
class Round:
    """What the worker says to a message, or to a resume."""

    text: str
    entries: list[Entry] = field(factory=list["Entry"])


@define
class Entry:
    """An entry of the history, and from when on it is there."""

    data: dict[str, Any]
    at: float


@define(eq=False)
class Accepted:
    """A message of the user's that the service took.

    Attributes:
        words: The message.
        jobs: How many jobs it starts.
        rounds: What was said so far.
    """

    words: str
    jobs: int
    rounds: list[Round] = field(factory=list[Round])
    is_left: bool = False

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "".join(each.text for each in self.rounds)

    @property
    def waits(self) -> bool:
        """Whether a job was started after which nobody has resumed."""
        return len(self.rounds) <= self.jobs and not self.is_left


@define
class Job:
    """A running job.

    Attributes:
        looks: How often it was looked at.
        seen: Whether the client was told of it.
    """

    id: str
    looks: int = 0
    seen: bool = False


class World:
    """One conversation at the service.

    Args:
        choices: The adversary.
        time: The clock.
        switches: How the service is.
        jobs: The most jobs that a message may start.

    Attributes:
        calm: While it is, there are no faults and no choices.
        accepted: The messages it took, in order.
        strays: Resumes that it took while nothing was waiting for one.
        resumes: Resumes that it took in all.
        open: Answers that the client has not let go.
        requests: What was asked, for reports.
        heard: The messages that got here, whatever became of them.
        resume: What an automatic resume says; the program sends no such message.
    """

    __slots__ = (
        "_history", "_jobs", "_refusals", "_runs", "_started", "_time", "accepted", "calm", "choices", "heard", "job",
        "open", "requests", "resume", "resumes", "strays", "switches",
    )  # fmt: skip

    def __init__(self, choices: Choices, time: Callable[[], float], switches: Switches, jobs: int) -> None:
        self.choices = choices
        self.switches = switches
        self.calm = False
        self.accepted: list[Accepted] = []
        self.strays = 0
        self.resumes = 0
        self.open = 0
        self.requests: list[str] = []
        self.heard: list[str] = []
        self.resume = ""
        self.job: Job | None = None
        self._jobs = jobs
        self._started = 0
        self._runs = 0
        self._refusals = 0
        self._time = time
        self._history: list[Entry] = []

    @property
    def latest_job(self) -> str:
        """The id of the job that was started last."""
        return f"j{self._started}"

    def words(self, name: str) -> str:
        """A message of this name, such that this service stores it in its own way; an empty one without a name."""
        if not name:
            return ""
        return {"same": name, "trimmed": f"{name}\n", "lf": f"{name}\r\nplease"}[self.switches.stored]

    def pick(self, what: str, *options: tuple[str, int]) -> str:
        """Ask the adversary; while it is calm, the first option."""
        return options[0][0] if self.calm else self.choices.pick(what, *options)

    def exchange(self, method: str, body: bytes | None) -> Reply:
        """Deal with a request.

        Raises:
            NotSent: It did not get here.
            Lost: No answer gets back.
            Stuck: There are too many.
        """
        if len(self.requests) >= REQUESTS:
            raise Stuck(f"{REQUESTS} requests")
        if method == "GET":
            self.requests.append("GET")
            return self._read()
        message: str = (json.loads(body) if body else {}).get("message", "")
        self.requests.append(f"{method} {message!r}")
        self.heard.append(message)
        try:
            return self._take(method, message)
        except NotSent:
            self.heard.pop()
            raise

    def _take(self, method: str, message: str) -> Reply:
        name = "resume" if message == self.resume else "send"
        if method == "PUT" and self.job is not None:
            how = self.pick(name, ("409", 0), ("503", 1), ("not sent", 1), ("lost", 1))
            return Reply(self, 409, [b'{"error": "busy"}']) if how == "409" else self._refuse(how)
        options = [("ok", 0), ("not sent", 1), ("lost", 1), ("lost, accepted", 1), ("503", 1), ("503, accepted", 1)]
        options.append(("429", 1))
        if method == "PUT" and self._refusals < REFUSALS:
            options.append(("409 without a job", 1))
        how = self.pick(name, *options)
        if "accepted" not in how and how != "ok":
            return self._refuse(how)
        if method == "POST":
            self._begin()
        round_, pieces = self._accept(message)
        if how == "lost, accepted":
            raise Lost
        if how == "503, accepted":
            return Reply(self, 503)
        headers = {"X-Toolhouse-Run-ID": f"r{self._runs}"}
        if self.job is not None:
            where: list[tuple[str, int]] = [("at the start", 0)]
            if self.switches.shape != "words":  # plain words are a reason for nobody to look for a job
                where.append(("in mid-stream", 0))
            if self.pick("job", *where) == "at the start":
                headers["x-toolhouse-job-id"] = self.job.id
        framed = self.pick("framing", ("proves the end", 0), ("proves nothing", 1)) == "proves the end"
        return Reply(self, 200, pieces, headers, framed=framed, round=round_)

    def _begin(self) -> None:
        """Begin a run; the one before, if there was one, is left."""
        self._runs += 1
        self._history, self.job = [], None
        if self.accepted:
            self.accepted[-1].is_left = True

    def _refuse(self, how: str) -> Reply:
        if how == "not sent":
            raise NotSent
        if how == "lost":
            raise Lost
        if how == "429":
            return Reply(self, 429, headers={"Retry-After": "1"})
        if how == "503":
            return Reply(self, 503)
        self._refusals += 1
        return Reply(self, 409, [b'{"error": "busy"}'])

    def _accept(self, message: str) -> tuple[Round, list[bytes]]:
        """Take a message or a resume: what the worker says to it, as a round and as lines."""
        latest = self.accepted[-1] if self.accepted else None
        if message == self.resume:
            self.resumes += 1
            if latest is None or not latest.waits:
                self.strays += 1
        else:
            if latest is not None and latest.waits:
                latest.is_left = True  # the message resumes the run in place of ours
            jobs = self.pick("jobs", *((str(number), 0) for number in range(self._jobs + 1)))
            self.accepted.append(Accepted(message, int(jobs)))
        turn = self.accepted[-1] if self.accepted else Accepted(message, 0)
        has_job = len(turn.rounds) < turn.jobs
        shape = self.switches.shape if has_job else "words"
        text = ""
        if "words" in shape or shape == "call+result":
            text = f"<{turn.words.split()[0] if turn.words else ''} {len(self.accepted)}.{len(turn.rounds)}>"
            text += "\n" if self.switches.spacing else ""
        call_id = f"c{self._started + 1}"
        round_ = Round(text)
        pieces = _lines(text, call_id if "call" in shape else None, is_answered="result" in shape)
        if message or self.switches.empty:
            self._record(round_, {"role": "user", "content": self._as_stored(message)})
        for entry in self._entries(text, call_id if "call" in shape else None, is_answered="result" in shape):
            self._record(round_, entry)
        turn.rounds.append(round_)
        if has_job:
            self._started += 1
            self.job = Job(f"j{self._started}")
        return round_, pieces

    def _as_stored(self, message: str) -> str:
        if self.switches.stored == "trimmed":
            return message.rstrip("\n")
        return message.replace("\r\n", "\n") if self.switches.stored == "lf" else message

    def _entries(self, text: str, call_id: str | None, *, is_answered: bool) -> list[dict[str, Any]]:
        """How an answer stands in the history."""
        if self.switches.spacing:
            text = text.strip().replace(" ", "  ")
        if call_id is None or not self.switches.tools:
            return [{"role": "assistant", "content": text}] if text else []
        if self.switches.tool_role == "user":
            words = [{"type": "text", "text": text}] if text else []
            call: dict[str, Any] = {"type": "tool_use", "id": call_id, "name": "code_interpreter", "input": {}}
            entry: dict[str, Any] = {"role": "assistant", "content": [*words, call]}
        else:
            call = {"id": call_id, "type": "function", "function": {"name": "code_interpreter", "arguments": "{}"}}
            entry = {"role": "assistant", "content": text, "tool_calls": [call]}
        return [entry, self._result(call_id, "started in the background")] if is_answered else [entry]

    def _result(self, call_id: str, content: str) -> dict[str, Any]:
        if self.switches.tool_role == "user":
            block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
            return {"role": "user", "content": [block]}
        return {"role": "tool", "tool_call_id": call_id, "content": content}

    def _record(self, round_: Round, data: dict[str, Any]) -> None:
        late = LATE if self.switches.recorded == "at-end" else 0.0
        entry = Entry(data, self._time() + late)
        round_.entries.append(entry)
        self._history.append(entry)

    def is_said(self, round_: Round) -> None:
        """A round is at its end, and recorded."""
        for entry in round_.entries:
            entry.at = min(entry.at, self._time())

    def _look_at_job(self, job: Job) -> None:
        """A job may be over at any look; where nothing in the history tells of it, not before it was seen."""
        job.looks += 1
        if not job.seen and not self.switches.tools:
            return
        if job.looks <= PATIENCE and self.pick("job", ("runs", 0), ("is over", 0)) == "runs":
            return
        for round_ in self.accepted[-1].rounds:
            self.is_said(round_)
        self.job = None
        if self.switches.tools:
            self._history.append(Entry(self._result(f"c{self._started}", "done"), self._time()))

    def _read(self) -> Reply:
        if self.job is not None:
            self._look_at_job(self.job)
        job, now = self.job, self._time()
        entries = [each for each in self._history if each.at <= now]
        recent = sum(now - each.at < LAG for each in entries[-2:])
        options = [("ok", 0), ("503", 1)]
        if recent:
            options.append(("hides the last entry", 1))
        if recent == 2:
            options.append(("hides two entries", 1))
        is_words = bool(recent) and entries[-1].data["role"] == "assistant" and len(_text(entries[-1].data)) > 1
        if is_words and self.switches.recorded == "at-once":
            options.append(("shows half of the answer", 1))
        if job is not None and job.seen:
            options.append(("lacks the job header", 1))
        how = self.pick("read", *options)
        if how == "503":
            return Reply(self, 503)
        hidden = {"hides the last entry": 1, "hides two entries": 2}.get(how, 0)
        shown = [each.data for each in entries[: len(entries) - hidden]]
        if how == "shows half of the answer":
            text = _text(shown[-1])
            shown[-1] = {"role": "assistant", "content": text[: len(text) // 2]}
        shown = shown[-self.switches.window :]
        headers = {"x-toolhouse-job-id": job.id} if job is not None and how != "lacks the job header" else {}
        return Reply(self, 200, [orjson.dumps(shown)], headers)

    def told(self, headers: dict[str, str]) -> None:
        """The client gets an answer with these headers."""
        if self.job is not None and headers.get("x-toolhouse-job-id") == self.job.id:
            self.job.seen = True


@define
class Reply:
    """An answer, whose body is still to be taken piece by piece.

    Attributes:
        framed: Whether the framing of its body proves the end.
        round: What it says of the conversation, if it streams that.
    """

    world: World
    status: int
    pieces: list[bytes] = field(factory=list[bytes])
    headers: dict[str, str] = field(factory=dict[str, str])
    framed: bool = True
    round: Round | None = None
    is_done: bool = False

    def take(self) -> bytes:
        """Take the next piece, ``b""`` at the end.

        Raises:
            Cut: There is no more, and that is not the end.
        """
        if self.is_done:
            return b""
        if self.round is not None:
            ends = ("is cut", 1) if self.framed else ("ends too early", 0)
            options = [("goes on", 0)]
            if self.framed or self.pieces:
                options.append(ends)
            how = self.world.pick("answer", *options)
            if how != "goes on":
                self.is_done = True
                if how == "is cut":
                    raise Cut
                return b""
        if self.pieces:
            return self.pieces.pop(0)
        self.is_done = True
        if self.round is not None:
            self.world.is_said(self.round)
        return b""


def _text(entry: dict[str, Any]) -> str:
    content = entry["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def _lines(text: str, call_id: str | None, *, is_answered: bool) -> list[bytes]:
    """An answer as lines of NDJSON: the words in two pieces, a call, its result."""
    said: list[dict[str, Any]] = []
    if text:
        said += [{"type": "text", "text": text[:3]}, {"type": "text", "text": text[3:]}]
    if call_id is not None:
        said.append({"type": "tool_call", "id": call_id, "name": "code_interpreter", "arguments": {}})
        if is_answered:
            said.append({"type": "tool_result", "id": call_id, "content": "started in the background"})
    return [json.dumps(each).encode() + b"\n" for each in said]
