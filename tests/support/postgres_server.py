"""A PostgreSQL server of the tests' own: on a socket of theirs, in a folder of theirs, with its own settings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from .processes import children, has_ended

READY = 50.0
"""Seconds that it may take to start."""
USER = "bot"
PORT = 5432
"""What the socket's name ends with; nothing listens on a port, unless it is told to."""
QUICK = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "50",
    "max_wal_senders": "4",
    "shared_buffers": "16MB",
    "wal_level": "replica",
}
"""No test depends on what the machine's end would leave, unless it says so."""


class PostgresServer:
    """A server, running or not; what it holds stays when it is stopped.

    Args:
        programs: The folder of initdb and postgres.
        folder: An empty folder for its files and socket; a short path, since sockets have short names.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self.folder = folder
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: str | None = None
        self.dsn = f"host={folder} port={PORT} user={USER} dbname=postgres"

    def make(self, primary: PostgresServer | None = None) -> None:
        """Make its files: with nothing in them, or as the standby of another.

        All need no password, but a role ``guarded`` that somebody may make.
        """
        if os.geteuid() == 0:  # as whom it refuses to run: then as whom Debian has made for it, or as nobody
            for self._owner in ("postgres", "nobody"):
                with suppress(LookupError):
                    shutil.chown(self.folder, self._owner)
                    break
        if primary is not None:
            self.run("pg_basebackup", "-d", primary.dsn, "-D", str(self.data), "-R", "-N", "--checkpoint=fast")
            return
        self.run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        rules = self.data / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())

    def start(self, **settings: str) -> None:
        """Start it, and return once it serves."""
        told = {**QUICK, "listen_addresses": "", "unix_socket_directories": str(self.folder), **settings}
        words = [word for name, value in told.items() for word in ("-c", f"{name}={value}")]
        log = self.folder / "log"
        with log.open("ab") as written:
            self._process = self._popen("postgres", "-D", str(self.data), *words, stdout=written, stderr=written)
        give_up = time.monotonic() + READY
        while not self._serves():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, as where the machine fails, with all its processes. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)  # so that it makes no more
            workers = self._workers()
            for each in (*workers, self._process):
                with suppress(psutil.NoSuchProcess):  # one that has ended meanwhile
                    each.kill()
            self._process.wait()
            self._process = None
            while not all(map(has_ended, workers)):
                time.sleep(0.001)
            (self.data / "postmaster.pid").unlink(missing_ok=True)  # a number that another process may have by now

    def pause(self) -> None:
        """Let it answer nobody."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._send(signal.SIGCONT)

    def sql(self, *statements: str, dsn: str = "") -> list[tuple[object, ...]]:
        """Run statements, and return the rows of the last."""
        with psycopg.connect(dsn or self.dsn, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs to the end, as its user."""
        process = self._popen(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=READY)
        assert process.returncode == 0, output.decode()

    def _popen(self, program: str, *arguments: str, stdout: object, stderr: object) -> subprocess.Popen[bytes]:
        who = {} if self._owner is None else {"user": self._owner, "extra_groups": []}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            **who,
        )

    def _serves(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server was not started"
        for each in (self._process, *self._workers()):
            with suppress(psutil.NoSuchProcess):  # one that has ended meanwhile
                each.send_signal(number)

    def _workers(self) -> list[psutil.Process]:
        """Its further processes, each of which has a session of its own."""
        assert self._process is not None
        return children(self._process.pid)


def find_postgres(environment: Mapping[str, str] = os.environ, debian: Path = Path("/usr/lib/postgresql")) -> Path:
    """Return the folder of PostgreSQL's programs; where there is none fail in CI, else skip."""
    versions = sorted(debian.glob("*/bin"), key=lambda each: float(each.parent.name), reverse=True)
    path = os.pathsep.join([*map(str, versions), environment.get("PATH", os.defpath)])
    program = shutil.which("initdb", path=path)
    if program is None or not Path(program).with_name("postgres").exists():
        why = "needs PostgreSQL (Debian: apt-get install postgresql)"
        if environment.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return Path(program).resolve().parent
