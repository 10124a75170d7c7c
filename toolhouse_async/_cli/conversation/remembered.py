"""The last conversation with a worker, kept on disk between two starts."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from ..._wire.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Memory", "Remembered", "state_folder"]

_LARGEST: Final = 4 * 1024 * 1024


@attrs.frozen
class Remembered:
    """Where a conversation stands.

    Attributes:
        run_id: The conversation; ``None`` before its first answer.
        message: A message that was sent and whose answer was not seen to its end.
    """

    run_id: str | None = None
    message: str | None = None


class Memory:
    """Keeps where the last conversation with one worker of one service stands, in a file of the user's alone.

    A file that cannot be read or written is told once, and then done without.

    Args:
        folder: Where such files are kept; made where it is missing.
        service: The service's address.
        agent_id: The worker.
        warn: Is told what went wrong.

    Attributes:
        now: Where the conversation stands.
    """

    def __init__(self, folder: Path, service: str, agent_id: str, warn: Callable[[str], None]) -> None:
        name = hashlib.sha256(f"{service}\n{agent_id}".encode()).hexdigest()[:32]
        self._folder = folder
        self._path = folder / f"{name}.json"
        self._about = {"service": service, "agent_id": agent_id}
        self._warn = warn
        self._works = True
        self.now = Remembered()

    def load(self) -> None:
        """Go on where the last conversation was left; anew where there was none, or where its file is broken."""
        try:
            with self._path.open("rb") as file:
                kept = orjson.loads(file.read(_LARGEST))
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed(error)
            return
        except orjson.JSONDecodeError:
            return
        run_id, message = (kept.get("run_id"), kept.get("message")) if isinstance(kept, dict) else (None, None)
        self.now = Remembered(
            run_id if is_id(run_id) else None,
            message if isinstance(message, str) else None,
        )

    def keep(self, **changes: str | None) -> None:
        """Note what has changed. A process that is killed in it leaves what was noted before, or this."""
        now = attrs.evolve(self.now, **changes)
        if now == self.now or not self._works:
            self.now = now
            return
        self.now = now
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(new, "wb", opener=_private) as file:
                file.write(orjson.dumps({**self._about, **attrs.asdict(now)}))
            new.replace(self._path)
        except OSError as error:
            self._failed(error)
            with suppress(OSError):
                new.unlink()

    def _failed(self, error: OSError) -> None:
        self._works = False
        self._warn(f"this conversation is not remembered for the next start: {self._path}: {error.strerror or error}")


def state_folder() -> Path:
    """The folder in which a program keeps a user's state on this platform."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):  # which the specification says to ignore
            base = str(Path.home() / ".local" / "state")
    return Path(base) / "toolhouse-async"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
