"""The model: what a conversation is by the documents of the Workers API, and nothing of how a client goes about it."""

from __future__ import annotations

from attrs import define, field

PARTS = ("%s: first ", "and then ", "at last.")
"""What the worker says: to a message, after its job, and after the second."""


def said(words: str, round_: int, jobs: int) -> str:
    """What the worker says in one round of its answer to a message; the last round ends it."""
    return (PARTS[round_] % words if round_ == 0 else PARTS[round_]) + ("." if round_ == jobs else "")


def whole(words: str, jobs: int) -> str:
    """All that it says to a message."""
    return "".join(said(words, round_, jobs) for round_ in range(jobs + 1))


@define
class Model:
    """A conversation.

    Attributes:
        history: Its entries, as role and content.
        heard: The messages that were accepted, resumes included.
        words: The message whose job runs or has run.
        jobs: How many jobs that message starts.
        round: How many of them are over and resumed.
        running: Whether one runs.
        unknown: The message whose fate the client cannot know, if there is one …
        arrived: … whether it was accepted …
        bars: … and whether the user was told so by an error, and has to find out before the next message.
    """

    history: list[tuple[str, str]] = field(factory=list)
    heard: list[str] = field(factory=list)
    words: str = ""
    jobs: int = 0
    round: int = 0
    running: bool = False
    unknown: str | None = None
    arrived: bool = False
    bars: bool = False

    @property
    def waits(self) -> bool:
        """Whether a job was started after which nobody has resumed."""
        return self.round < self.jobs

    def accept(self, words: str, jobs: int) -> None:
        """Take a user's message, up to the job that it starts."""
        self.words, self.jobs, self.round = words, jobs, 0
        self._answer(words)

    def end_job(self) -> None:
        """The job is over."""
        self.running = False
        self.history.append(("tool", "done"))

    def resume(self) -> None:
        """Take an automatic resume, up to the next job."""
        self.round += 1
        self._answer("")

    def finish(self) -> str:
        """Let jobs end and resume after them until there are none left; what is said meanwhile."""
        begin = len(self.history)
        while self.waits:
            if self.running:
                self.end_job()
            self.resume()
        return "".join(content for role, content in self.history[begin:] if role == "assistant")

    def _answer(self, message: str) -> None:
        self.heard.append(message)
        self.history += [("user", message), ("assistant", said(self.words, self.round, self.jobs))]
        self.running = self.waits
