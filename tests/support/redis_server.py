"""A Redis server of the tests' own: on a socket of theirs, with nothing kept and nothing of the system's settings."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

READY = 50.0
"""Seconds that it may take to start."""


class RedisServer:
    """A running server.

    Args:
        program: The path of redis-server.
        folder: A folder for its socket and log; a short path, since sockets have short names.
        port: Where other servers find it, if they are to.
    """

    def __init__(self, program: str, folder: Path, port: int = 0) -> None:
        self._program = program
        self._folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/redis.sock"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process."""
        assert self._process is not None, "the server was not started"
        return self._process

    def start(self) -> None:
        """Start it, and return once it serves; what it held is gone."""
        address, log = self._folder / "redis.sock", self._folder / "redis.log"
        address.unlink(missing_ok=True)
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(address),
            "save": "",
            "appendonly": "no",
            "repl-diskless-sync-delay": "0",
            "dir": str(self._folder),
            "logfile": str(log),
        }
        self._process = subprocess.Popen(
            [self._program, *(word for name, value in settings.items() for word in (f"--{name}", value))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        give_up = time.monotonic() + READY
        while not _is_listening(address):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it answer nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def silent(server: RedisServer, *users: Any, patience: float = 0.1) -> Iterator[None]:
    """Let it answer nobody within the block, in which its users have little patience.

    Outside they have their own, so that a busy machine is no server that does not answer.

    Args:
        server: The server.
        users: Stores and hubs that use it.
        patience: Seconds that an answer may take.
    """
    server.pause()
    before = [_be_patient(user._connections, patience) for user in users]
    try:
        yield
    finally:
        server.go_on()
        for user, seconds in zip(users, before, strict=True):
            _be_patient(user._connections, seconds)


def _be_patient(connections: Any, seconds: float) -> float:
    """Give new and present connections so many seconds for an answer; how many they had is returned."""
    before: float = connections.patience
    pool = connections.client.connection_pool
    pool.connection_kwargs.update(socket_timeout=seconds, socket_connect_timeout=seconds)
    for each in (*pool._available_connections, *pool._in_use_connections):
        each.socket_timeout = each.socket_connect_timeout = seconds
    connections.patience = seconds
    return before


def _is_listening(address: Path) -> bool:
    """Whether connections are taken there: a socket that is only bound is a file already, and refuses them."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(address)) == 0


def find_redis(environment: Mapping[str, str] = os.environ) -> str:
    """Return the path of redis-server; where there is none fail in CI, else skip."""
    folders = [environment.get("PATH", os.defpath), "/usr/bin", "/usr/sbin", "/usr/local/bin"]
    program = shutil.which("redis-server", path=os.pathsep.join(folders))
    if program is None:
        why = "needs redis-server (Debian: apt-get install redis-server)"
        if environment.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return program
