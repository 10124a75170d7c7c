import asyncio
import json
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.support import COMMAND, environment, wait_until
from toolhouse_async import JobToken, RecoveryPolicy


async def poet(ctx):
    """Says its message back in colours, with a tool call."""
    call = ctx.tool_call("look", {"for": "rhymes"})
    yield call
    yield ctx.tool_result(call, ["moon", "\x1b[1mspoon\x1b[0m"])
    yield ctx.text(f"{ctx.message!r} ")
    yield ctx.text(f"\x1b[31m{ctx.vars.get('colour')}\x1b[0m")


async def sleeper(ctx):
    """Has one background job."""
    if ctx.message == "again":
        yield ctx.text("Nothing left.")
    elif ctx.job_result is None:
        yield ctx.background(asyncio.sleep, 0.1, 42)
        yield ctx.text("First. ")
    else:
        yield ctx.text(f"Then {ctx.job_result}.")


async def forever(ctx):
    """Never stops talking."""
    while True:
        yield ctx.text("word " * 2000)
        await asyncio.sleep(0.001)


async def broken(ctx):
    """Reports an error in mid-answer."""
    yield ctx.text("word ")
    yield ctx.error("out of words")


async def patient(ctx):
    """Has a background job that ends when the test lets it."""
    if ctx.job_result is None:
        yield ctx.background(patient.work)
        yield ctx.text("First. ")
    else:
        yield ctx.text(f"Then {ctx.job_result}.")


@pytest.fixture
def worker(toolhouse_emulator, cli):
    """Runs the command ``run`` against a worker."""
    for function in (poet, sleeper, forever, broken, patient):
        toolhouse_emulator.worker(function.__name__)(function)
    url = toolhouse_emulator.url

    def call(name, *arguments, **options):
        return cli("run", name, *arguments, "--base-url", url, "--api-key", "", **options)

    call.url = url
    call.emulator = toolhouse_emulator
    return call


@pytest.mark.parametrize("family", ["ndjson", "text"])
def test_words_go_to_stdout_and_notices_to_stderr(worker, family):
    done = worker("poet", "hi", "--vars", '{"colour": "red"}', "--format", family)
    assert done.returncode == 0
    assert done.stdout == "'hi' \\x1b[31mred\\x1b[0m\n"
    assert "run id: " in done.stderr
    assert ("[tool call: look]" in done.stderr) == (family == "ndjson")


def test_variables_are_sent_exactly(worker):
    variables = '{"colour":123456789012345678901234567890,"n":[-9223372036854775809,9007199254740993,null]}'
    assert worker("poet", "hi", "--vars", variables).returncode == 0
    assert f'"vars":{variables}'.encode() in worker.emulator.accepted[0].body


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_variable_that_is_no_number_of_json_is_refused(worker, number):
    done = worker("poet", "hi", "--vars", f'{{"colour": {number}}}')
    assert done.returncode == 2
    assert "vars cannot be written as JSON" in done.stderr
    assert worker.emulator.requests == []


def test_a_job_is_waited_for_and_its_run_can_be_continued(worker):
    done = worker("sleeper", "go")
    assert done.stdout == "First. Then 42.\n"
    assert "job " in done.stderr
    assert "[resumed]" in done.stderr
    run_id = done.stderr.split("run id: ")[1].split("]")[0]
    assert worker("sleeper", "again", "--run-id", run_id).returncode == 0
    assert [r.method for r in worker.emulator.accepted] == ["POST", "PUT", "PUT"]


def test_json_prints_every_event(worker):
    done = worker("sleeper", "go", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert [n for n in names if n != "JobProgress"] == [
        "TurnStarted",
        "TextDelta",
        "JobStarted",
        "JobFinished",
        "TurnResumed",
        "TextDelta",
        "TurnCompleted",
    ]
    assert events[-1]["result"]["text"] == "First. Then 42."
    assert done.stderr == ""
    assert "\x1b" not in worker("poet", "\x9b", "--json").stdout


def test_the_message_comes_from_stdin_where_it_is_not_given(worker):
    assert worker("poet", stdin=b"from stdin, \xe2\x82\xac\n").stdout.startswith("'from stdin, €' ")


@pytest.mark.parametrize("stdin", [b"", b"\r\n"])
def test_a_message_on_stdin_that_is_empty_is_refused(worker, stdin):
    done = worker("poet", stdin=stdin)
    assert done.returncode == 2
    assert 'there is no message on stdin: give MESSAGE, or ""' in done.stderr
    assert worker.emulator.requests == []


def test_a_worker_is_started_without_a_message_by_an_empty_one(worker):
    assert worker("poet", "").stdout.startswith("None ")
    assert b"message" not in worker.emulator.accepted[0].body


def test_a_message_that_is_no_text_is_refused(worker):
    done = worker("poet", stdin=b"\xff")
    assert done.returncode == 2
    assert "not UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "hi"], "Error: NotFoundError: "),
        (["poet", "hi", "--run-id", "unknown"], "Error: NotFoundError: "),
    ],
)
def test_an_error_is_one_line_and_status_1(worker, arguments, message):
    done = worker(*arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "The message was not accepted: it may be sent again."
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert error.startswith(message)
    assert "Traceback" not in done.stderr


def test_an_answer_that_is_not_complete_is_status_3(worker):
    done = worker("forever", "hi", "--timeout", "0.3")
    assert done.returncode == 3
    assert "Error: TurnTimeoutError: " in done.stderr
    assert "The message was accepted: sent again, it may be carried out twice." in done.stderr


@pytest.mark.parametrize("fault", [{"cut": "fin", "accept": True}, {"status": 500}])
def test_an_unknown_outcome_is_status_4(worker, fault):
    worker.emulator.faults.add(method="POST", **fault)
    done = worker("poet", "Book a table")
    assert done.returncode == 4
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Nobody knows whether the message was accepted: sent again, it may be carried out twice.")
    assert last.endswith("Nobody can look, since it was to begin a conversation.")


@pytest.mark.parametrize("message", ["Book a table", ""])
def test_an_unknown_outcome_in_a_conversation_can_be_looked_for(worker, message):
    run_id = json.loads(worker("poet", "hi", "--json").stdout.splitlines()[0])["run_id"]
    worker.emulator.faults.add(method="PUT", cut="fin", accept=True)
    done = worker("poet", message, "--run-id", run_id)
    assert done.returncode == 4
    *_, said, command = done.stderr.splitlines()
    assert said == "Nobody knows whether the message was accepted: sent again, it may be carried out twice."
    words = shlex.split(command.partition(": ")[2])
    assert words[:2] == ["toolhouse-async", "reconcile"]
    assert words[words.index("--") + 1 :] == ["poet", run_id, *(["MESSAGE"] if message else [])]


def test_a_service_that_is_not_there_is_status_1(cli):
    done = cli("run", "a", "hi", "--api-key", "", "--base-url", "http://127.0.0.1:9", "--timeout", "1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def start(worker, *arguments, **options):
    command = [*COMMAND, "run", *arguments, "--base-url", worker.url, "--api-key", ""]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        **options,
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_quiet(worker, number, status):
    with start(worker, "forever", "hi") as process:
        assert process.stdout.read(5) == b"word "
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    assert process.returncode == status
    assert b"Traceback" not in errors


@pytest.fixture
def finish(toolhouse_emulator):
    """Ends the job of the worker ``patient`` once it has been seen again, since one that is over takes two minutes."""
    requests = toolhouse_emulator.requests
    seen = []

    async def work():
        while not seen or len(requests) <= seen[0]:
            await asyncio.sleep(0.02)
        return 42

    patient.work = work
    return lambda: seen.append(len(requests))


def way_on(stderr):
    """The arguments of the command on the last line."""
    last = stderr.splitlines()[-1]
    program, *arguments = shlex.split(last.partition(" with: ")[2])
    assert program == "toolhouse-async"
    is_about = arguments[-1] if arguments[0] == "wait" else arguments[arguments.index("--run-id") + 1]
    assert f"Run {is_about} " in last
    return arguments


@pytest.mark.parametrize(
    ("end", "options", "times"),
    [
        (signal.SIGINT, [], 2),
        (signal.SIGINT, ["--json"], 1),
        (signal.SIGINT, ["--format", "text"], 1),
        (signal.SIGTERM, [], 1),
        ("--timeout", [], 1),
        ("--timeout", ["--json"], 2),
    ],
)
def test_what_ends_in_mid_job_says_how_to_go_on(worker, cli, finish, end, options, times):
    if end == "--timeout":
        done = worker("patient", "hi", "--timeout", "1", *options)
        assert done.returncode == 3
        assert "Error: TurnTimeoutError: " in done.stderr
        out, errors = done.stdout, done.stderr
    else:
        with start(worker, "patient", "hi", *options) as process:
            out = process.stdout.readline() if "--json" in options else process.stdout.read(5)
            wait_until(lambda: any(r.method == "GET" for r in worker.emulator.requests))
            process.send_signal(end)
            out, errors = ((a + b).decode() for a, b in zip((out, b""), process.communicate(timeout=10), strict=True))
    assert "Traceback" not in errors
    assert f"(may take {RecoveryPolicy().deadline:g} s if the job is over by then) with: " in errors.splitlines()[-1]
    if "--json" in options:
        failed = json.loads(out.splitlines()[-1])
        assert failed["event"] == "TurnFailed"
        assert failed["error"] == ("TurnTimeoutError" if end == "--timeout" else "Interrupted")
        assert failed["run_id"] in errors.splitlines()[-1]
        assert failed["safe_to_retry"] is False
        token = JobToken.from_json(failed["token"])
        assert token.run_id == failed["run_id"]
        assert abs(time.time() - token.started) < 600
    finish()
    for _ in range(times):  # the second time it is read, and nothing is sent
        done = cli(*way_on(errors))
        assert done.returncode == 0
        assert "Then 42." in done.stdout
    assert [request.method for request in worker.emulator.requests if request.method != "GET"] == ["POST", "PUT"]


def test_what_ends_between_words_says_how_to_get_the_answer(worker):
    with start(worker, "forever", "hi") as process:
        process.stdout.read(5)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=10)[1].decode()
    name, *_, agent_id, _ = way_on(errors)
    assert (name, agent_id) == ("wait", "forever")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_before_an_answer_says_that_it_may_be_twice(worker, number):
    worker.emulator.faults.add(method="POST", cut="silence", accept=True)
    with start(worker, "poet", "hi") as process:
        wait_until(lambda: worker.emulator.requests)
        process.send_signal(number)
        errors = process.communicate(timeout=10)[1].decode()
    (line,) = errors.splitlines()
    assert line.startswith("Interrupted before an answer came. Nobody knows whether the message was accepted: ")
    assert line.endswith("Nobody can look, since it was to begin a conversation.")


def test_what_ends_before_an_answer_on_a_run_says_how_to_find_out(worker, cli):
    run_id = json.loads(worker("poet", "hi", "--json").stdout.splitlines()[0])["run_id"]
    worker.emulator.faults.add(method="PUT", cut="silence", accept=True)
    with start(worker, "poet", "more", "--run-id", run_id) as process:
        wait_until(lambda: any(request.method == "PUT" for request in worker.emulator.requests))
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=10)[1].decode()
    standing, command = errors.splitlines()
    assert standing.endswith("sent again, it may be carried out twice.")
    program, *arguments = shlex.split(
        command.removeprefix(f"Find out (may take {RecoveryPolicy().deadline:g} s) with: ")
    )
    assert (program, arguments[0]) == ("toolhouse-async", "reconcile")
    assert arguments[-4:] == ["--", "poet", run_id, "MESSAGE"]


def test_what_ends_between_a_job_and_its_answer_says_how_to_get_the_answer(worker, cli):
    """The answer to the resume is cut, and cannot be looked for."""
    worker.emulator.faults.add(method="PUT", cut="fin", cut_after=5)
    worker.emulator.faults.add(method="GET", status=403, skip=2, times=1)
    done = worker("sleeper", "go")
    assert done.returncode == 3
    assert "has a background job" not in done.stderr
    found = cli(*way_on(done.stderr))
    assert (found.returncode, found.stdout) == (0, "First. Then 42.\n")
    assert [request.method for request in worker.emulator.requests if request.method != "GET"] == ["POST", "PUT"]


def test_a_worker_that_answers_by_an_error_leaves_the_word_to_the_user(worker):
    done = worker("broken", "hi")
    assert done.returncode == 1
    assert way_on(done.stderr)[-2:] == ["broken", "MESSAGE"]


def test_a_failure_is_the_last_event(worker):
    done = worker("nobody", "hi", "--json")
    assert done.returncode == 1
    failed = json.loads(done.stdout.splitlines()[-1])
    assert (failed["event"], failed["error"], failed["run_id"]) == ("TurnFailed", "NotFoundError", None)
    assert failed["message"]
    assert done.stderr.startswith("Error: NotFoundError: ")


@pytest.mark.parametrize(("fault", "safe"), [({}, False), ({"cut": "silence", "accept": True}, None)])
def test_an_interruption_says_as_json_whether_the_message_was_accepted(worker, fault, safe):
    if fault:
        worker.emulator.faults.add(method="POST", **fault)
    with start(worker, "forever", "hi", "--json") as process:
        if fault:
            wait_until(lambda: worker.emulator.requests)
        else:
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=50)
    failed = json.loads(out.splitlines()[-1])
    assert (failed["error"], failed["safe_to_retry"], failed["token"]) == ("Interrupted", safe, None)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_stdout_that_is_full_says_that_the_message_was_accepted_and_how_to_get_the_answer(worker, cli):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "run", "poet", "hi", "--base-url", worker.url, "--api-key", ""],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
    errors = done.stderr.decode()
    assert done.returncode == 1
    assert "The message was accepted: sent again, it may be carried out twice." in errors
    found = cli(*way_on(errors))
    assert (found.returncode, found.stdout) == (0, "'hi' \\x1b[31mNone\\x1b[0m\n")
    assert [request.method for request in worker.emulator.requests if request.method != "GET"] == ["POST"]


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_it_quietly(worker, as_json):
    with start(worker, "forever", "hi", *as_json) as process:
        assert process.stdout.read(5)
        process.stdout.close()
        wait_until(lambda: process.poll() is not None)
        assert process.returncode == 141
        assert process.stderr.read() == b""


def test_the_environment_names_service_and_key(worker, cli):
    worker.emulator.api_key = "secret"
    done = cli("run", "poet", "hi", TOOLHOUSE_BASE_URL=worker.url, TOOLHOUSE_API_KEY="secret")
    assert done.returncode == 0
    refused = cli("run", "poet", "hi", TOOLHOUSE_BASE_URL=worker.url, TOOLHOUSE_API_KEY="wrong")
    assert refused.returncode == 1
    assert "AuthenticationError" in refused.stderr
    keyless = cli("run", "poet", "hi", "--api-key", "")
    assert "set TOOLHOUSE_API_KEY or pass --api-key" in keyless.stderr
    assert "wrong" not in refused.stderr


def test_an_encoding_that_lacks_a_character_is_no_obstacle(worker):
    done = subprocess.run(
        [*COMMAND, "run", "poet", "kůň", "--base-url", worker.url, "--api-key", ""],
        capture_output=True,
        env=environment(PYTHONIOENCODING="ascii"),
        check=True,
    )
    assert done.stdout.startswith(b"'k\\u016f\\u0148'")


def test_an_argument_that_is_no_text_is_refused(worker):
    done = worker("poet", "\udcff")
    assert done.returncode == 2
    assert "not text" in done.stderr


def test_settle_looks_at_the_history_after_words(worker):
    assert worker("sleeper", "again", "--settle", "--timeout", "0.3").returncode == 3
    assert worker.emulator.requests[1].method == "GET"


def test_settle_is_kept_by_the_command_that_goes_on(worker):
    assert "--settle" in way_on(worker("broken", "hi", "--settle").stderr)
