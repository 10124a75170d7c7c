import json
import shlex
import shutil
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager

import pytest

from tests.cli.support import COMMAND, environment


@contextmanager
def emulator(*arguments):
    """The command ``emulator`` while it serves: its process, its URL and its curl line."""
    command = [*COMMAND, "emulator", "--port", "0", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            first, second = process.stdout.readline(), process.stdout.readline()
            yield process, first.split(" on ")[1].split()[0], second
        finally:
            process.kill()


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers, answer.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_both_workers_until_it_is_told_to_stop(number):
    with emulator() as (process, url, _):
        headers, text = post(f"{url}/echo", {"message": "Hello there"})
        assert text == "Hello there"
        assert headers["X-Toolhouse-Run-ID"]
        _, text = post(f"{url}/csv-analyst", {"message": "Look"})
        assert "penguins.csv" in text
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "Traceback" not in errors


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_its_curl_line_works_with_a_key():
    with emulator("--api-key", "it's a key") as (_, _, line):
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=10, check=True)
        assert "HTTP/1.1 200" in done.stdout
        assert done.stdout.endswith("Hello")


def test_a_port_that_is_taken_is_an_error(cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli("emulator", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in done.stderr
