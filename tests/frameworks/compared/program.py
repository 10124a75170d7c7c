"""What a program with one of the clients does in the comparison."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, ClassVar

from .service import Service


class Program(ABC):
    """A program with one of the clients, written as that client's own documentation shows.

    Args:
        settings: What is not as by default, by the client's own names.

    Attributes:
        package: The client's name in the registry of packages.
        service: The service that it speaks to.
        waits_by: The call that waits for a long-running job.
        loops: Whether the program repeats that call until the job is over.
        job_again_by: What brings the outcome of a job to another process.
        answer_again_by: What brings another process the answer that the first one was reading; empty if nothing does.
        otherwise: What the page says then.
    """

    package: ClassVar[str]
    service: ClassVar[type[Service]]
    waits_by: ClassVar[str]
    loops: ClassVar[bool] = False
    job_again_by: ClassVar[str]
    answer_again_by: ClassVar[str] = ""
    otherwise: ClassVar[str] = "nothing"

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    @property
    def version(self) -> str:
        """The client's version."""
        return version(self.package)

    @abstractmethod
    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        """Open a client of the service at that URL."""

    @abstractmethod
    async def ask(self, client: Any) -> str:
        """Send the message and return the whole answer."""

    @abstractmethod
    def speak(self, client: Any, seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        """Send the message and yield the words of the answer, noting in ``seen`` what a later process needs."""

    @abstractmethod
    async def wait(self, client: Any, seen: dict[str, Any]) -> str:
        """Have a long-running job done, and return its outcome; ``seen`` as above."""

    async def go_on(self, client: Any, seen: dict[str, Any]) -> str:
        """Return the rest of an answer that another process was reading, or the whole of it."""
        raise NotImplementedError

    @abstractmethod
    async def join(self, client: Any, seen: dict[str, Any]) -> str:
        """Return the outcome of a job for which another process was waiting."""
