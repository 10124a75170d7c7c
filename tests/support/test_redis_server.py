import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from .redis_server import RedisServer

LATE = f"""#!{sys.executable}
import socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[sys.argv.index("--unixsocket") + 1])
time.sleep(0.3)
server.listen()
server.accept()
server.accept()
"""


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    yield folder
    shutil.rmtree(folder)


def test_a_server_has_started_when_it_takes_connections(folder):
    program = folder / "late-server"
    program.write_text(LATE)
    program.chmod(0o755)
    server = RedisServer(str(program), folder)
    server.start()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(folder / "redis.sock"))
    finally:
        server.stop()
