"""nginx as a process of the test's own, on a port of its own, with nothing of the system's configuration."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

import psutil
from attrs import frozen

from tests.faults.support import eventually
from tests.support.processes import children, has_ended

_BACKLOG = 511
_OPEN = ("01", "08")
"""Linux's numbers for the states ESTABLISHED and CLOSE_WAIT."""
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@frozen
class Site:
    """What nginx is to do with requests: lines of configuration, as they stand in each kind of block.

    Attributes:
        location: Lines within ``location /``; the upstream is added unless they have a ``proxy_pass``.
        server: Lines within ``server``.
        http: Lines within ``http``.
        main: Lines outside of every block.
        listen: What follows the address behind ``listen``.
    """

    location: str = ""
    server: str = ""
    http: str = ""
    main: str = ""
    listen: str = ""

    def text(self, port: int, upstream: str, folder: Path) -> str:
        """The whole configuration."""
        passes = "" if "proxy_pass " in self.location else f"proxy_pass {upstream};"
        kept = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY)
        # As root nginx would serve as another user, who may not enter the folders of tests.
        user = "user root root;" if os.geteuid() == 0 else ""
        return f"""
            {user}
            {self.main}
            daemon off;
            worker_processes 1;
            pid {folder}/nginx.pid;
            error_log {folder}/error.log info;
            events {{ worker_connections 256; }}
            http {{
                access_log off;
                {kept}
                {self.http}
                server {{
                    listen 127.0.0.1:{port} {self.listen};
                    {self.server}
                    location / {{
                        {passes}
                        {self.location}
                    }}
                }}
            }}
        """


class Nginx:
    """A running nginx.

    Its port is bound here and handed to it already listening, as nginx hands its sockets to its successor in an
    upgrade: so no port can be taken by somebody else meanwhile, and none is refused before nginx is ready. It stays
    reserved while nginx is down, so that connections are refused then and nobody else gets them.

    Args:
        program: The path of nginx.
        folder: An empty folder for its files.
        upstream: The URL of the service behind it.
    """

    def __init__(self, program: str, folder: Path, upstream: str) -> None:
        self._program = program
        self._folder = folder
        self._upstream = upstream
        self._site = Site()
        self._process: subprocess.Popen[bytes] | None = None
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            self._reserved.close()

    @property
    def url(self) -> str:
        """The address to talk to, without a slash at its end."""
        return f"{'https' if 'ssl' in self._site.listen else 'http'}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What nginx has logged since the folder was empty."""
        log = self._folder / "error.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    @property
    def workers(self) -> set[psutil.Process]:
        """The processes that serve, those that are about to end included."""
        return set(children(self._running().pid))

    @property
    def connections(self) -> int:
        """How many connections to it its clients have not closed, those included that it has closed itself."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(f":{self.port:04X}") and row[3] in _OPEN for row in rows)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "nginx was not started"
        assert self._process.poll() is None, f"nginx has ended:\n{self.log}"
        return self._process

    def _configure(self, site: Site, upstream: str | None) -> str:
        self._site, self._upstream = site, upstream or self._upstream
        file = self._folder / "nginx.conf"
        file.write_text(site.text(self.port, self._upstream, self._folder), "utf-8")
        return str(file)

    async def start(self, site: Site | None = None) -> None:
        """Start it, and return once it serves."""
        file = self._configure(site or self._site, None)
        with _bound(self.port) as listening:
            listening.listen(_BACKLOG)
            number = listening.fileno()
            self._process = subprocess.Popen(
                [self._program, "-p", str(self._folder), "-e", f"{self._folder}/error.log", "-c", file],
                env={**os.environ, "NGINX": f"{number};"},
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        await eventually(lambda: self.workers)

    async def reload(self, site: Site | None = None, upstream: str | None = None) -> None:
        """Take another configuration by ``SIGHUP``, as ``nginx -s reload`` does; return once the new one serves.

        The old worker serves on what it has begun, and has stopped taking connections when this returns.
        """
        self._configure(site or self._site, upstream)
        before, farewells = self.workers, self.log.count("gracefully shutting down")
        self._running().send_signal(signal.SIGHUP)
        await eventually(lambda: self.workers - before and self.log.count("gracefully shutting down") > farewells)

    async def crash(self) -> None:
        """Kill the process that serves; the one that watches it starts another."""
        (worker,) = self.workers
        worker.kill()
        await eventually(lambda: self.workers - {worker})

    async def kill(self) -> None:
        """Kill it as a whole: every connection ends at once, and new ones are refused."""
        process = self._running()
        workers = self.workers
        os.killpg(process.pid, signal.SIGKILL)
        await eventually(lambda: process.poll() is not None and all(map(has_ended, workers)))
        self._process = None

    async def stop(self) -> None:
        """End it by ``SIGTERM``, if it runs."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await eventually(lambda: process.poll() is not None)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode == 0, f"nginx ended with {process.returncode}:\n{self.log}"


def _bound(port: int) -> socket.socket:
    """A socket with that port, or a free one, which later sockets of ours may share."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
