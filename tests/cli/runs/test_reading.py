import json
import shlex
import subprocess
import time

import pytest

from tests.cli.support import COMMAND, environment


def test_a_conversation_is_printed(command, begin):
    run_id = begin("echo", "Hello", "What is new?").run_id
    done = command("history", "echo", run_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "user:\n  Hello\nassistant:\n  Hello\nuser:\n  What is new?\nassistant:\n  What is new?\n"
    done = command("history", "echo", run_id, "--markdown")
    assert done.stdout.startswith("## user\n\nHello\n\n## assistant\n")
    entries = json.loads(command("history", "echo", run_id, "--json").stdout)
    assert entries[0] == {"role": "user", "content": "Hello"}


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_what_a_worker_says_is_harmless(command, begin, form):
    run_id = begin("rude", "Hello").run_id
    done = command("history", "rude", run_id, *form)
    assert "owned" in done.stdout
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.stdout)
    assert "\x1b" not in command("status", "rude", run_id).stdout


def test_the_status_of_a_run_at_rest(command, begin):
    run_id = begin("echo", "Hello").run_id
    done = command("status", "echo", run_id)
    assert done.returncode == 0
    assert "none is running" in done.stdout
    assert "assistant: Hello" in done.stdout
    assert "next      the user" in done.stdout
    assert json.loads(command("status", "echo", run_id, "--json").stdout) == {
        "agent_id": "echo",
        "run_id": run_id,
        "running": False,
        "job_id": None,
        "started": None,
        "next": "user",
        "messages": 2,
        "last": {"role": "assistant", "text": "Hello"},
    }


def test_the_status_of_a_run_with_a_job(command, begin, finish, service):
    result = begin("analyst", "Analyse")
    token = result.token
    done = command("status", "analyst", result.run_id)
    assert done.returncode == 3
    assert f"{token.job_id} is running\n" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "wait for it: " in line]
    options = ["--base-url", service.url, "--api-key", "", "--"]
    assert shlex.split(line.partition(": ")[2]) == ["toolhouse-async", "wait", *options, "analyst", result.run_id]
    done = command("status", token.to_json())
    assert done.returncode == 3
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(token.started))
    assert f"is running since {began}" in done.stdout
    document = json.loads(command("status", token.to_json(), "--json").stdout)
    assert (document["running"], document["started"], document["next"]) == (True, token.started, "job")
    finish()


def test_a_run_that_waits_to_be_resumed(command, begin, finish):
    result = begin("analyst", "Analyse")
    finish()
    while (done := command("status", "analyst", result.run_id)).returncode == 3:
        pass
    assert done.returncode == 0
    assert "waits to be resumed" in done.stdout
    assert "toolhouse-async wait" in done.stdout


def test_a_long_history_is_read_while_a_job_runs(command, begin):
    result = begin("analyst", "long " * 20_000)
    document = json.loads(command("status", "analyst", result.run_id, "--json").stdout)
    assert document["messages"] > 0


@pytest.mark.parametrize("name", ["history", "status"])
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["echo", "unknown"], 1, "NotFoundError"),
        (["nobody", "unknown"], 1, "NotFoundError"),
        (["echo", "../x"], 2, "run id"),
        (["no/id", "x"], 2, "agent id"),
    ],
)
def test_what_is_not_there_is_an_error(command, name, arguments, status, message):
    done = command(name, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr


@pytest.mark.parametrize("name", ["history", "status", "wait", "reconcile"])
def test_a_key_is_needed_and_has_to_be_right(service, cli, name):
    done = cli(name, "echo", "run-1")
    assert done.returncode == 2
    assert "th login" in done.stderr
    service.api_key = "secret"
    done = cli(name, "echo", "run-1", "--api-key", "wrong", "--base-url", service.url)
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr
    assert "wrong" not in done.stderr.replace("is wrong", "")


@pytest.mark.parametrize("name", ["status", "wait"])
@pytest.mark.parametrize("word", ["broken", "{}", '{"agent_id": "a"}', "{"])
def test_a_token_that_is_none_is_refused(command, service, name, word):
    done = command(name, word)
    assert done.returncode == 2
    assert "token" in done.stderr
    assert service.requests == []


def test_a_reader_that_goes_away_ends_it_quietly(service, begin):
    run_id = begin("echo", f"{'x' * 99} " * 2_000).run_id
    command = [*COMMAND, "history", "echo", run_id, "--base-url", service.url, "--api-key", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        process.stdout.read(5)
        process.stdout.close()
        assert process.wait(50) == 141
        assert process.stderr.read() == b""
