import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.cli.support import COMMAND, environment, wait_until, write_slow_file
from tests.testing.documents import CALLING, CONTINUING, KEY, POLLING, STARTING, bash

JOB, RUN = "x-toolhouse-job-id", "x-toolhouse-run-id"


@contextmanager
def emulator(*arguments, folder=None):
    """The command ``emulator`` while it serves: its process, its URL and its curl line."""
    command = [*COMMAND, "emulator", "--port", "0", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=folder,
    ) as process:
        try:
            first, second = process.stdout.readline(), process.stdout.readline()
            yield process, first.split(" on ")[1].split()[0], second
        finally:
            process.kill()


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=50) as answer:
        return answer.headers, answer.read().decode()


def post(url, body):
    return call("POST", url, body)


def by_the_flow_chart(url, family, agent):
    """Do what the documents' chart draws and nothing else; return the jobs, and what the last answer said."""
    headers, text = post(f"{url}{family}/{agent}", {"message": "Analyze this CSV and plot a histogram"})
    run_id, jobs = headers[RUN], []
    while (job := headers[JOB]) is not None:
        jobs.append(job)
        wait_until(lambda run=f"{url}/{agent}/{run_id}": call("GET", run)[0][JOB] is None, seconds=60)
        headers, text = call("PUT", f"{url}{family}/{agent}/{run_id}", {"message": ""})
    return jobs, text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_its_workers_until_it_is_told_to_stop(number):
    with emulator() as (process, url, _):
        headers, text = post(f"{url}/echo", {"message": "Hello there"})
        assert text == "Hello there"
        assert headers["X-Toolhouse-Run-ID"]
        for agent in ("csv-analyst", "csv-analyst-midstream"):
            _, text = post(f"{url}/{agent}", {"message": "Look"})
            assert "penguins.csv" in text
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
        assert process.returncode == 0
        assert "Traceback" not in errors


@pytest.mark.parametrize("family", ["", "/ndjson"])
def test_a_client_by_the_documents_flow_chart_comes_to_the_end(family):
    with emulator() as (_, url, _):
        jobs, text = by_the_flow_chart(url, family, "csv-analyst")
        assert len(set(jobs)) == len(jobs) == 2
        assert "The mean of" in "".join(words(text) if family else text)
        jobs, text = by_the_flow_chart(url, family, "csv-analyst-midstream")
        assert jobs == []  # which is what that worker is for
        assert "I'll work through all its rows" in "".join(words(text) if family else text)


def words(text):
    return [json.loads(line).get("text", "") for line in text.splitlines()]


def test_while_its_job_runs_reads_name_it_and_puts_are_refused(tmp_path):
    write_slow_file(tmp_path / "slow.csv")
    with emulator(folder=tmp_path) as (_, url, _):
        headers, _ = post(f"{url}/csv-analyst", {"message": "Look", "vars": {"csv_path": "slow.csv"}})
        run = f"{url}/csv-analyst/{headers[RUN]}"
        assert headers[JOB]
        assert call("GET", run)[0][JOB] == headers[JOB]
        assert call("HEAD", run)[0][JOB] == headers[JOB]
        with pytest.raises(urllib.error.HTTPError) as caught:
            call("PUT", run, {"message": ""})
        with caught.value as refused:
            assert refused.code == 409
        assert post(f"{url}/csv-analyst", {"message": "Look"})[0][RUN] != headers[RUN]

        headers, _ = post(f"{url}/csv-analyst-midstream", {"message": "Look", "vars": {"csv_path": "slow.csv"}})
        assert headers[JOB] is None
        assert call("GET", f"{url}/csv-analyst-midstream/{headers[RUN]}")[0][JOB]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_documents_shell_lines_go_through():
    with emulator("--api-key", KEY) as (_, url, _):
        assert "Book at meeting over lunch with Jessica." in bash(url, CALLING, "echo")
        run_id = re.search(r"(?im)^< x-toolhouse-run-id: (\S+)", bash(url, STARTING, "echo"))[1]
        assert "thank you, now find products" in bash(url, CONTINUING, "echo", RUN_ID=run_id)
        printed = bash(url, POLLING, "csv-analyst")
    assert "Job complete, resuming..." in printed
    assert "344 rows are in." in printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_its_curl_line_works_with_a_key():
    with emulator("--api-key", "it's a key") as (_, _, line):
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=50, check=True)
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_it_warns_of_nothing_where_only_this_machine_can_call(host):
    with emulator("--host", host) as (process, _, _):
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=50)[1] == ""


@pytest.mark.parametrize(("key", "who"), [((), "without a key"), (("--api-key", "k"), "who has the key")])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_warns_loudly_where_other_machines_can_call(host, key, who, tmp_path):
    with emulator("--host", host, *key, folder=tmp_path) as (process, _, _):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=50)
    assert errors.startswith(f"Warning: {host} is not this machine alone: everybody on its networks {who}")
    assert str(tmp_path) in errors


@pytest.mark.parametrize("agent", ["csv-analyst", "csv-analyst-midstream"])
def test_its_worker_reads_files_of_its_own_folder_alone(tmp_path, agent):
    inside, outside = tmp_path / "inside", tmp_path / "outside.csv"
    (inside / "deeper").mkdir(parents=True)
    (inside / "deeper" / "a.csv").write_text("x,y\n1,2\n3,4\n")
    outside.write_text("user,word\nroot,hunter2\n")
    (inside / "link.csv").symlink_to(outside)
    (inside / "circle.csv").symlink_to(inside / "circle.csv")
    (tmp_path / "inside-too").mkdir()
    (tmp_path / "inside-too" / "b.csv").write_text("user,word\nroot,hunter2\n")

    def ask(url, path):
        return post(f"{url}/ndjson/{agent}", {"message": "Look", "vars": {"csv_path": path}})[1]

    with emulator(folder=inside) as (_, url, _):
        for path in ("deeper/a.csv", str(inside / "deeper" / "a.csv"), "deeper/../deeper/a.csv"):
            assert "It has 2 columns." in "".join(words(ask(url, path)))
        elsewhere = ["../outside.csv", str(outside), "deeper/../../outside.csv", "link.csv", "../inside-too/b.csv"]
        for path in (*elsewhere, "/etc/passwd", "/dev/zero"):
            assert f"I read files below {inside.resolve()} only." in ask(url, path)
        for path in ("circle.csv", "\0", "~/outside.csv", ["../outside.csv"], {"a": 1}, "x" * 5000, "x/" * 5000):
            assert "hunter2" not in ask(url, path)


@pytest.mark.parametrize("agent", ["csv-analyst", "csv-analyst-midstream"])
def test_a_link_that_is_swapped_in_behind_the_check_leads_nowhere(tmp_path, agent):
    """The path was checked when the message came; the job begins words later, and reads the file again."""
    inside, outside = tmp_path / "inside", tmp_path / "outside.csv"
    inside.mkdir()
    path = inside / "a.csv"
    path.write_text("x,y\n1,2\n3,4\n")
    outside.write_text("user,word\nroot,hunter2\n")
    with emulator(folder=inside) as (_, url, _):
        body = {"message": "Look", "vars": {"csv_path": "a.csv"}}
        request = urllib.request.Request(f"{url}/ndjson/{agent}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=50) as answer:
            told = answer.readline().decode()  # the first word: the check is made
            run = answer.headers[RUN]
            path.unlink()
            path.symlink_to(outside)
            told += answer.read().decode()
        wait_until(lambda: call("GET", f"{url}/{agent}/{run}")[0][JOB] is None)
        told += call("PUT", f"{url}/ndjson/{agent}/{run}", {"message": ""})[1]
    assert "I could not analyse the file" in "".join(words(told))
    assert "hunter2" not in told
    assert "word" not in told


def test_what_callers_send_reaches_its_terminal_harmless(tmp_path):
    with emulator(folder=tmp_path) as (process, url, _):
        for path in ("\x1b[2J\x1b]0;owned\x07.csv", "a\r\nb\x9b2J"):
            post(f"{url}/csv-analyst", {"message": "\x1b[2J", "vars": {"csv_path": path, "column": "\x1b[31m"}})
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=50)
    assert not {"\x1b", "\x07", "\r", "\x9b"} & set(out + errors)
