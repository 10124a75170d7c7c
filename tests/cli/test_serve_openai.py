import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.cli.support import COMMAND, environment
from toolhouse_async.testing.workers import echo


@pytest.fixture
def service(toolhouse_emulator):
    """The environment that leads to a worker."""
    toolhouse_emulator.worker("echo")(echo)
    return {"TOOLHOUSE_BASE_URL": toolhouse_emulator.url, "TOOLHOUSE_API_KEY": "key"}


@contextmanager
def serving(*arguments, **variables):
    """The command while it serves: its process, and the address that it has printed."""
    command = [*COMMAND, "serve-openai", "--model", "parrot=echo", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(**variables), **pipes) as process:
        try:
            line = process.stdout.readline()
            yield process, re.fullmatch(r"Models parrot on (http://\S+/v1) \(Ctrl-C stops\)\n", line)[1]
        finally:
            process.kill()


def ask(url, path, body=None, key=None):
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=40) as answer:
        return json.load(answer)


def test_it_serves_the_models_until_it_is_told_to_stop(service):
    with serving(**service) as (process, url):
        assert [each["id"] for each in ask(url, "/models")["data"]] == ["parrot"]
        answer = ask(url, "/responses", {"model": "parrot", "input": "Good morning"})
        assert answer["output"][0]["content"][0]["text"] == "Good morning"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=50) == ("", "")
        assert process.returncode == 0


def test_clients_must_have_the_key(service):
    with serving(**service, TOOLHOUSE_CLIENT_KEY="k") as (_, url):
        assert ask(url, "/models", key="k")["data"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(url, "/models")
        with caught.value as refused:
            assert refused.code == 401


@pytest.mark.parametrize(
    ("host", "key", "who"), [("0.0.0.0", (), "without a key"), ("::", ("--client-key", "k"), "who has the key")]
)
def test_it_warns_where_other_machines_can_call(service, host, key, who):
    with serving("--host", host, *key, **service) as (process, url):
        assert url.startswith(f"http://{f'[{host}]' if ':' in host else host}:")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=50)
    assert errors.startswith(f"Warning: {host} is not this machine alone: everybody on its networks {who}")


def test_a_port_that_is_taken(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("serve-openai", "--model", "a=b", "--api-key", "k", "--port", port)
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr


def test_without_the_extra(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = cli("serve-openai", "--model", "a=b", "--api-key", "k")
    assert done.returncode == 2
    assert "pip install 'toolhouse-async[serve]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model"),
        (["--model", "a"], "NAME=AGENT_ID"),
        (["--model", "=b"], "NAME=AGENT_ID"),
        (["--model", "a="], "NAME=AGENT_ID"),
        (["--model", "a=b", "--model", "a=c"], "given twice"),
        (["--model", "a=no/id", "--api-key", "k"], "agent id"),
        (["--model", "a=b"], "TOOLHOUSE_API_KEY"),
    ],
)
def test_wrong_arguments_are_status_2(cli, arguments, message):
    done = cli("serve-openai", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
