import asyncio
import csv
import json
import stat

import attrs
import pytest

from toolhouse_async import AsyncToolhouse, BatchProgress
from toolhouse_async._cli.batch.display import Display, counted, paced
from toolhouse_async._cli.batch.running import retry
from toolhouse_async._cli.batch.tables import ADDED, Rows, check_out, written
from toolhouse_async.errors import ConfigurationError
from toolhouse_async.stores import MemorySessionStore


async def clerk(ctx):
    """Answers in JSON, fails where it is told to, and breaks off where it is told to."""
    if "fail" in ctx.message:
        yield ctx.text("so ")
        raise RuntimeError("told to")
    if "prose" in ctx.message:
        yield ctx.text("no JSON")
    elif "NaN" in ctx.message:
        yield ctx.text('{"n": NaN}')
    else:
        yield ctx.text(json.dumps({"asked": ctx.message, "n": [1, None]}))


@pytest.fixture
def batch(toolhouse_emulator, cli, tmp_path, monkeypatch):
    """Runs ``batch run`` on a file of rows."""
    monkeypatch.chdir(tmp_path)
    toolhouse_emulator.worker("clerk")(clerk)

    def call(*arguments, **options):
        url = ("--base-url", toolhouse_emulator.url, "--api-key", "")
        return cli("batch", "run", *arguments, "--agent", "clerk", *url, **options)

    call.emulator = toolhouse_emulator
    call.folder = tmp_path
    call.cli = cli
    return call


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode())
    return path


UNDER_WAY = "A 'batch run' that is under way leaves rows to the next one that it has come to already."


def asked(batch):
    return sorted(json.loads(request.body)["message"] for request in batch.emulator.accepted)


def test_a_table_gets_its_answers_in_its_order(batch):
    write(batch.folder, "cities.csv", '\ufeffname,"in, where",year\nGraz,Austria,1128\nKöln,"Ger\nmany",\n')
    for _ in range(2):
        done = batch("cities.csv", "--template", "{name} in {year}?", "--out", "out.csv")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "2 of 2 rows: 2 done\n"
    with (batch.folder / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["name", "in, where", "year", "status", "answer", "error"]
    assert rows[1] == ["Graz", "Austria", "1128", "done", '{"asked": "Graz in 1128?", "n": [1, null]}', ""]
    assert rows[2][:4] == ["Köln", "Ger\nmany", "", "done"]
    assert len(rows) == 3
    assert asked(batch) == ["Graz in 1128?", "Köln in ?"]
    assert sorted(path.name for path in batch.folder.iterdir()) >= ["batch.db", "cities.csv", "out.csv"]


def test_the_index_of_a_table_of_pandas_is_a_column_without_a_name(batch):
    write(batch.folder, "rows.csv", ",a\n7,x\n8,y\n")
    assert batch("rows.csv", "--template", "{a}", "--key", "", "--out", "out.csv").returncode == 0
    with (batch.folder / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = [row[:3] for row in csv.reader(file)]
    assert rows == [["", "a", "status"], ["7", "x", "done"], ["8", "y", "done"]]


def test_lines_of_json_with_answers_as_json(batch):
    lines = ['{"z": 1, "a": [true]}', "", '{"z": 2, "b": null}', '"plain text"', '{"z": "prose"}']
    write(batch.folder, "rows.jsonl", "\n".join(lines))
    done = batch("rows.jsonl", "--template", "{0}", "--out", "out.jsonl")
    assert done.returncode == 2
    assert "'rows.jsonl': line 1: it does not fit the template" in done.stderr
    assert asked(batch) == []
    write(batch.folder, "rows.jsonl", "\n".join([*lines[:3], lines[4]]))
    done = batch("rows.jsonl", "--template", "say {z}", "--out", "out.jsonl", "--parse")
    assert done.returncode == 5
    assert done.stderr.splitlines() == [
        "3 of 3 rows: 3 done",
        "1 answer is no JSON, and its row is done: to ask again, run a file of such rows alone with another --name.",
    ]
    out = [json.loads(line) for line in (batch.folder / "out.jsonl").read_text().splitlines()]
    assert [list(line) for line in out] == [["z", "a", *ADDED], ["z", "b", *ADDED], ["z", *ADDED]]
    assert out[0]["answer"] == {"asked": "say 1", "n": [1, None]}
    assert (out[2]["status"], out[2]["answer"]) == ("done", None)
    assert "no JSON" in out[2]["error"]


@pytest.mark.parametrize("parses", [False, True])
def test_what_a_worker_says_is_harmless_in_files_too(tmp_path, parses):
    said = "\x1b]0;pwned\x07\u202e\x9b31m\ttab\nline\r\nend"
    added = {"status": "done", "answer": [said] if parses else said, "error": None}
    for name in ("out.csv", "out.jsonl"):
        with written(tmp_path / name, ("city",)) as answers:
            answers.add({"city": "Graz\x9b"}, added)
        assert not {"\x1b", "\x07", "\u202e"} & set((tmp_path / name).read_text("utf-8"))
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8")) == {"city": "Graz\x9b", **added}
    assert "\x9b" not in (tmp_path / "out.jsonl").read_text("utf-8")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["city"] == "Graz\x9b"
    if parses:
        assert json.loads(row["answer"]) == [said]
    else:
        assert row["answer"] == r"\x1b]0;pwned\x07\u202e\x9b31m" + "\ttab\nline\nend"


def test_numbers_that_json_does_not_have_are_no_json(batch):
    write(batch.folder, "rows.jsonl", '"NaN"\n')
    assert batch("rows.jsonl", "--out", "out.jsonl", "--parse").returncode == 5
    (line,) = (batch.folder / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["answer"] is None
    assert json.loads(line)["error"] == (
        "the worker's answer has a number that is none in JSON, such as NaN or Infinity: have it write null in that "
        "place, or leave out --parse"
    )


def test_a_table_without_rows_keeps_its_columns(batch):
    write(batch.folder, "rows.csv", "name,year\n")
    done = batch("rows.csv", "--template", "{name}", "--out", "out.csv")
    assert (done.returncode, done.stderr) == (0, "0 of 0 rows: 0 done\n")
    assert (batch.folder / "out.csv").read_bytes() == b"name,year,status,answer,error\r\n"


def test_long_integers_stay_exact(batch):
    write(batch.folder, "rows.jsonl", '{"id": 18446744073709551617}\n')
    done = batch("rows.jsonl", "--template", "{id}", "--key", "id", "--out", "out.jsonl", "--parse")
    assert done.returncode == 0
    assert asked(batch) == ["18446744073709551617"]
    assert '"id": 18446744073709551617' in (batch.folder / "out.jsonl").read_text()


def test_strings_are_their_own_messages(batch):
    write(batch.folder, "rows.jsonl", '"one"\n"two"\n')
    assert batch("rows.jsonl", "--out", "out.csv", "--rate", "600/min").returncode == 0
    with (batch.folder / "out.csv").open(newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["one", "two"]
    assert batch("rows.jsonl", "--template", "again: {}", "--name", "other").returncode == 0
    assert asked(batch) == ["again: one", "again: two", "one", "two"]


def test_rows_that_fail_are_listed_and_asked_again(batch):
    write(batch.folder, "rows.csv", "id,say\na,fail\nb,well\nc,fail too\n")
    options = ("rows.csv", "--template", "{say}", "--key", "id", "--out", "out.jsonl")
    done = batch(*options)
    assert done.returncode == 5
    assert done.stderr.startswith("3 of 3 rows: 1 done, 2 failed\n")
    assert "2 of the 2 that failed: WorkerError: " in done.stderr
    assert "'batch retry'" in done.stderr
    assert "from the store" not in done.stderr
    (again,) = [line for line in batch(*options).stderr.splitlines() if line.startswith("2 of the 2 that failed: ")]
    assert again.endswith(" (from the store: this start has not asked)")
    out = [json.loads(line) for line in (batch.folder / "out.jsonl").read_text().splitlines()]
    assert [line["status"] for line in out] == ["failed", "done", "failed"]
    assert out[0]["error"].startswith("WorkerError: ")

    named = ("--name", "rows")
    assert batch.cli("batch", "status", *named).stdout == "3 of 3 rows: 1 done, 2 failed\n"
    failed = [json.loads(line) for line in batch.cli("batch", "failed", *named).stdout.splitlines()]
    assert sorted((line["key"], line["status"], line["error"]) for line in failed) == [
        ("a", "failed", "WorkerError"),
        ("c", "failed", "WorkerError"),
    ]
    assert {line["safe_to_retry"] for line in failed} == {False}
    write(batch.folder, "rows.csv", "id,say\na,better\nb,well\nc,fail too\n")
    assert batch.cli("batch", "retry", *named).stdout.splitlines() == [
        "2 failed: the next 'batch run' of the worker clerk asks again",
        "To ask another worker, give the batch another --name.",
        UNDER_WAY,
    ]
    assert batch(*options).returncode == 5
    out = [json.loads(line) for line in (batch.folder / "out.jsonl").read_text().splitlines()]
    assert [line["status"] for line in out] == ["done", "done", "failed"]
    assert asked(batch) == ["better", "fail", "fail too", "fail too", "well"]


@pytest.mark.parametrize("key", [(), ("--key", "id")])
def test_a_row_that_is_let_to_be_asked_again_is_not_asked_while_the_answers_are_written(batch, key):
    async def worker(ctx):
        if ctx.message == "retry" and "again" not in told:
            told.append("again")
            await retry("batch.db", "rows")
        told.append(ctx.message)
        yield ctx.text("so")
        if ctx.message == "fail":
            raise RuntimeError("told to")

    told = []
    batch.emulator.worker("worker")(worker)
    says = ["well", "fail", "fail", "retry", "fail"]
    write(batch.folder, "rows.csv", "id,say\n" + "".join(f"{number},{say}\n" for number, say in enumerate(says)))
    url = ("--base-url", batch.emulator.url, "--api-key", "")
    options = ("rows.csv", "--template", "{say}", "--out", "out.jsonl", "--concurrency", "1", *key, *url)
    done = batch.cli("batch", "run", "--agent", "worker", *options)
    assert done.returncode == 5
    assert told == ["well", "fail", "fail", "again", "retry", "fail"]
    assert (
        "2 rows are to be asked by now, as after 'batch retry', and written with the status 'open': the same command "
        "goes on with them, and writes the file anew.\n"
    ) in done.stderr
    out = [json.loads(line) for line in (batch.folder / "out.jsonl").read_text().splitlines()]
    assert [(line["say"], line["status"]) for line in out] == list(
        zip(says, ["done", "open", "open", "done", "failed"], strict=True)
    )
    assert (out[1]["answer"], out[1]["error"]) == (None, "to be asked by now: the same command goes on with it")
    said = batch.cli("batch", "run", "--agent", "worker", *options).stderr
    assert "3 of the 3 that failed: " in said
    assert told[6:] == ["fail", "fail"]


def test_rows_that_were_accepted_are_told_apart_and_not_asked_again(batch):
    """The service is there again, without the runs that it had: nothing brings the answer of such a row."""
    write(batch.folder, "rows.jsonl", '"lost"\n"fail"\n')
    batch.emulator.faults.add(method="POST", cut="rst", cut_after=5)
    batch.emulator.faults.add(method="GET", status=404, times=None)
    ask = "'batch retry' lets the next run of this worker ask again."
    look = (
        "1 of the {} that failed was accepted, and its answer was not to be had: 'batch retry' has it looked for once "
        "more, and sends no message again (a worker whose job is over is resumed). To send such rows anew, though the "
        "worker has had them, run a file of them alone with another --name."
    )
    done = batch("rows.jsonl", "--concurrency", "1")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-2:] == [f"'batch failed' lists the rows that failed; {ask}", look.format(2)]
    assert batch.cli("batch", "retry", "--name", "rows").stdout.splitlines() == [
        "1 failed: the next 'batch run' of the worker clerk asks again",
        "To ask another worker, give the batch another --name.",
        "1 failed after it was accepted: the next 'batch run' of the worker clerk looks for its answer, sends no "
        "message again (a worker whose job is over is resumed)",
        "To send such rows anew, though the worker has had them, run a file of them alone with another --name.",
        UNDER_WAY,
    ]
    write(batch.folder, "rows.jsonl", '"lost"\n"well"\n')
    done = batch("rows.jsonl")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-2:] == ["'batch failed' lists the rows that failed.", look.format(1)]
    assert batch.cli("batch", "retry", "--name", "rows").stdout.splitlines() == [
        "1 failed after it was accepted: the next 'batch run' of the worker clerk looks for its answer, sends no "
        "message again (a worker whose job is over is resumed)",
        "To send such rows anew, though the worker has had them, run a file of them alone with another --name.",
        UNDER_WAY,
    ]
    assert asked(batch) == ["fail", "lost", "well"]
    write(batch.folder, "again.jsonl", '"lost"\n')
    assert batch("again.jsonl").returncode == 0
    assert asked(batch) == ["fail", "lost", "lost", "well"]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_unknown_rows_are_asked_again_where_that_is_wanted(batch, concurrency):
    write(batch.folder, "rows.jsonl", '"one"\n')
    batch.emulator.faults.add(method="POST", cut="rst")
    done = batch("rows.jsonl", "--out", "out.jsonl")
    assert done.returncode == 5
    assert "1 of 1 rows: 0 done, 1 unknown\n" in done.stderr
    assert "the service is away (OutcomeUnknownError: POST " in done.stderr
    assert "--retry-unknown" in done.stderr
    assert batch("rows.jsonl").returncode == 5
    assert batch.cli("batch", "retry", "--name", "rows").stdout.splitlines() == [
        "0 failed: nothing to ask again",
        "1 unknown: 'batch run --retry-unknown' asks again",
    ]
    again = ("--retry-unknown", "--concurrency", concurrency)
    assert batch("rows.jsonl", "--out", "out.jsonl", *again).returncode == 0
    assert asked(batch) == ["one"]


def test_rows_that_stay_unknown_are_not_promised_what_retry_unknown_would_undo(batch):
    write(batch.folder, "rows.jsonl", '"one"\n')
    batch.emulator.faults.add(method="POST", cut="rst", times=2)
    last = "Nobody knows whether the unknown ones were accepted; "
    said = batch("rows.jsonl").stderr.splitlines()
    assert said[-1] == f"{last}--retry-unknown asks them again."
    assert "; the same command with --out FILE writes them, and asks nothing again." in said[-3]
    said = batch("rows.jsonl", "--retry-unknown").stderr.splitlines()
    assert said[-1] == f"{last}the next start with --retry-unknown asks them once more."
    assert said[-3] == (
        "The answers are in the store 'batch.db'; the same command with --out FILE and without --retry-unknown writes "
        "them, and asks nothing again."
    )


def test_the_summary_has_the_most_frequent_failure(batch):
    write(batch.folder, "rows.jsonl", '"refused"\n"fail"\n"fail too"\n"well"\n')
    batch.emulator.faults.add(method="POST", status=422)
    done = batch("rows.jsonl", "--concurrency", "1")
    assert done.returncode == 5
    assert "2 of the 3 that failed: WorkerError: " in done.stderr
    write(batch.folder, "typo.jsonl", '"one"\n"two"\n')
    arguments = ("--agent", "typo", "--base-url", batch.emulator.url, "--api-key", "")
    said = batch.cli("batch", "run", "typo.jsonl", *arguments).stderr
    assert "2 of the 2 that failed: NotFoundError: " in said
    assert "check --base-url and the agent id" in said
    assert said.splitlines()[-1] == (
        "The service knows no such worker: correct --agent and give the batch another --name; where --base-url was "
        "wrong, 'batch retry' lets the next run ask again."
    )
    assert "knows no such worker" not in done.stderr


def test_the_summary_counts_a_reason_once_wherever_it_comes_from(batch):
    rows = ["fail 1", "fail 2", "fail 3", "fail 4", "refused 1", "refused 2"]
    options = ("rows.jsonl", "--concurrency", "1")
    write(batch.folder, "rows.jsonl", "".join(f'"{row}"\n' for row in rows[:2]))
    batch(*options)
    write(batch.folder, "rows.jsonl", "".join(f'"{row}"\n' for row in rows))
    batch.emulator.faults.add(method="POST", status=422, skip=2, times=2)
    said = [line for line in batch(*options).stderr.splitlines() if " of the 6 that failed: " in line]
    assert [line.partition(": ")[2].partition(":")[0] for line in said] == ["WorkerError", "UnprocessableEntityError"]
    assert said[0].startswith("4 of the 6 ")
    assert said[0].endswith(" (2 from the store: this start has not asked them)")
    assert said[1].startswith("2 of the 6 ")
    assert "from the store" not in said[1]


def test_the_summary_has_three_reasons_and_the_number_of_others(batch):
    write(batch.folder, "rows.jsonl", "".join(f'"row {number}"\n' for number in range(6)))
    for status in (404, 404, 422, 400, 413, 415):
        batch.emulator.faults.add(method="POST", status=status)
    said = [line for line in batch("rows.jsonl").stderr.splitlines() if " of the 6 that failed: " in line]
    assert [line[:2] for line in said] == ["2 ", "1 ", "1 ", "2 "]
    assert said[0].startswith("2 of the 6 that failed: NotFoundError: ")
    assert said[3] == "2 of the 6 that failed: for other reasons"


def test_the_summary_has_the_reasons_of_unknown_rows_too(batch):
    write(batch.folder, "rows.jsonl", '"fail 1"\n"fail 2"\n"fail 3"\n"fail 4"\n')
    batch.emulator.faults.add(method="POST", cut="rst")
    batch.emulator.faults.add(method="POST", status=502, times=2)
    done = batch("rows.jsonl")
    assert done.returncode == 5
    said = [line for line in done.stderr.splitlines() if " of the " in line]
    assert said[0].startswith("1 of the 1 that failed: WorkerError: ")
    assert said[1].startswith("2 of the 3 that are unknown: ServerError: POST /ndjson/clerk was answered with 502")
    assert said[2].startswith("1 of the 3 that are unknown: OutcomeUnknownError: POST /ndjson/clerk: ")
    assert len(said) == 3
    said = [line for line in batch("rows.jsonl").stderr.splitlines() if " of the 3 that are unknown: " in line]
    assert [line.endswith(" (from the store: this start has not asked)") for line in said] == [True, True]


def test_it_is_said_why_the_batch_waits(batch):
    write(batch.folder, "rows.jsonl", '"one"\n')
    batch.emulator.faults.add(method="POST", status=503)
    said = batch("rows.jsonl").stderr
    assert "the service is away (ServerError: POST /ndjson/clerk was answered with 503)" in said


def test_what_a_row_failed_by_is_told_by_options(batch):
    write(batch.folder, "rows.jsonl", '"one"\n')
    batch.emulator.faults.add(method="POST", status=404)
    done = batch("rows.jsonl", "--out", "out.jsonl")
    assert done.returncode == 5
    assert "check --base-url" in done.stderr
    assert "check --base-url" in (batch.folder / "out.jsonl").read_text()
    assert "base_url" not in done.stderr


def test_without_a_file_for_the_answers_it_is_said_where_they_are(batch):
    write(batch.folder, "rows.jsonl", '"one"\n')
    done = batch("rows.jsonl")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "1 of 1 rows: 1 done",
        "The answers are in the store 'batch.db'; the same command with --out FILE writes them, and asks nothing "
        "again.",
    ]
    assert batch("rows.jsonl", "--out", "out.jsonl").returncode == 0
    assert asked(batch) == ["one"]


def test_the_url_of_a_store_which_may_have_a_password_is_not_said(batch, redis_server):
    write(batch.folder, "rows.jsonl", '"one"\n')
    said = batch("rows.jsonl", "--store", redis_server.url).stderr
    assert "\nThe answers are in the store; the same command with --out FILE" in said


def test_a_changed_row_and_another_worker_are_refused(batch):
    write(batch.folder, "rows.jsonl", '"one"\n')
    assert batch("rows.jsonl", "--out", "out.jsonl").returncode == 0
    before = (batch.folder / "out.jsonl").read_bytes()
    write(batch.folder, "rows.jsonl", '"another"\n')
    done = batch("rows.jsonl", "--out", "out.jsonl")
    assert done.returncode == 2
    assert (
        "Error: row 0 (counted from 0) has another message than when it was asked; if it failed, 'batch retry' lets it "
        "be asked anew; else put the rows back in their places, with new ones behind them, or give the batch another "
        "--name, which asks all of them\n"
    ) in done.stderr
    write(batch.folder, "rows.csv", "a\n1\n")
    options = ("rows.csv", "--template", "{a}", "--base-url", batch.emulator.url, "--api-key", "")
    said = batch.cli("batch", "run", "--agent", "other", *options).stderr
    assert said.endswith(": give this one another --name\n")
    said = batch.cli("batch", "run", "--agent", "clerk", "--key", "a", *options).stderr
    assert said.endswith(": leave --key as it was, or give this batch another --name\n")
    assert (batch.folder / "out.jsonl").read_bytes() == before
    assert sorted(path.name for path in batch.folder.iterdir() if path.name.startswith(".")) == []


def test_a_column_that_comes_while_rows_are_asked_is_no_reason_to_fail_without_a_word(batch):
    async def changer(ctx):
        write(batch.folder, "rows.csv", "a,b\none,1\n")
        yield ctx.text("so")

    batch.emulator.worker("changer")(changer)
    write(batch.folder, "rows.csv", "a\none\n")
    url = ("--base-url", batch.emulator.url, "--api-key", "", "--template", "{a}")
    done = batch.cli("batch", "run", "rows.csv", "--agent", "changer", "--out", "out.csv", *url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'rows.csv' has changed meanwhile; the answers are in the store" in done.stderr
    assert done.stderr.endswith("as it was: a row has the new column 'b'\n")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ('"one"\n"changed"\n', ": row 1 (counted from 0) has another message than when it was asked; "),
        ('"one"\n5\n', ": 'rows.jsonl': line 2 is int; "),
        (None, ": 'rows.jsonl' cannot be read: "),
    ],
)
def test_answers_are_said_to_be_safe_where_the_rows_change_meanwhile(batch, rows, why):
    async def changer(ctx):
        if ctx.message == "two":
            (batch.folder / "rows.jsonl").unlink()
            if rows is not None:
                write(batch.folder, "rows.jsonl", rows)
        yield ctx.text("so")

    batch.emulator.worker("changer")(changer)
    write(batch.folder, "rows.jsonl", '"one"\n"two"\n')
    url = ("--base-url", batch.emulator.url, "--api-key", "")
    done = batch.cli("batch", "run", "rows.jsonl", "--agent", "changer", "--out", "out.jsonl", *url)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "2 of 2 rows: 2 done\nError: 'out.jsonl' is not written, since 'rows.jsonl' has changed meanwhile; the answers "
        f"are in the store, and the same command writes them where the file is as it was{why}"
    )
    assert not (batch.folder / "out.jsonl").exists()
    write(batch.folder, "rows.jsonl", '"one"\n"two"\n')
    again = batch.cli("batch", "run", "rows.jsonl", "--agent", "changer", "--out", "out.jsonl", *url)
    assert again.stderr == "2 of 2 rows: 2 done\n"


@pytest.mark.parametrize(
    ("name", "text", "arguments", "why"),
    [
        (
            "rows.tsv",
            "a\n",
            (),
            "'rows.tsv' is neither .csv nor .jsonl: write the rows to a .csv file, with commas and",
        ),
        ("rows.json", "[]", (), "or to a .jsonl file, an object or string on each line"),
        ("rows.jsonl", "{", (), "'rows.jsonl': line 1 is no JSON"),
        (
            "rows.jsonl",
            '[{"a": 1}]',
            ("--template", "{a}"),
            "'rows.jsonl': line 1 is an array: write each of its items",
        ),
        (
            "rows.jsonl",
            '[\n  {"a": 1}\n]\n',
            ("--template", "{a}"),
            "(pandas: to_json(…, orient='records', lines=True))",
        ),
        ("rows.jsonl", '"a"\n\n5\n', (), "'rows.jsonl': line 3 is int; it must be an object or a string"),
        ("rows.jsonl", '{"a": 1}\n', (), "--template says what is asked: --template '… {a}'"),
        ("rows.jsonl", '{"a": 1}\n', ("--template", "{b}"), "'rows.jsonl': line 1: it does not fit the template"),
        ("rows.jsonl", '"a"\n\n{"a": 1}\n', ("--template", "{}"), "'rows.jsonl': line 3: it does not fit the template"),
        ("rows.jsonl", '{"a": 1}\n{"a": null}\n', ("--template", "{a}?"), "line 2: {a} has no value, but None"),
        (
            "rows.jsonl",
            '{"a": NaN}\n',
            ("--template", "{a}?"),
            "has no value, but nan: fill it, or leave the row out\n",
        ),
        ("rows.jsonl", '"a"\n""\n', (), "'rows.jsonl': line 2 has an empty message: fill the row, or take it out"),
        ("rows.jsonl", '" \\t"\n', ("--template", "{}"), "'rows.jsonl': line 1 has an empty message"),
        ("rows.csv", "a,b\nx,1\n,2\n", ("--template", "{a}"), "'rows.csv': line 3 has an empty message: fill the row"),
        ("rows.jsonl", '{"a": 1}\n', ("--template", "{a"), "template is no pattern"),
        ("rows.jsonl", '{"a": 1}\n', ("--template", "a"), "template has no field"),
        ("rows.jsonl", '{"a": 1, "answer": 2}\n', ("--template", "{a}"), "has a column 'answer' already"),
        (
            "rows.jsonl",
            '{"a": 1}\n{"a": 1}\n',
            ("--template", "{a}", "--key", "a"),
            "two rows have the key '1'; 'rows.jsonl': line 2",
        ),
        ("rows.jsonl", '"a"\n', ("--key", "a"), "'rows.jsonl': line 1 has nothing in the column 'a', which is its key"),
        ("rows.csv", "a,b\n1,2,3\n", ("--template", "{a}"), "'rows.csv': line 2 has 3 cells, the header has 2: "),
        ("rows.csv", 'a,b\n"1\n",2\n1,2,3\n', ("--template", "{a}"), "line 4 has 3 cells, the header has 2: write a"),
        ("rows.csv", "a,b\n1,\n\n2\n", ("--template", "{a}{b}"), "'rows.csv': line 4 has 1 cell, the header has 2: "),
        ("rows.csv", "a,b,c\n1,2\n", ("--template", "{a}"), "line 2 has 2 cells, the header has 3: write the commas"),
        ("rows.csv", "a,b\n1,2\n3,4\n", ("--template", "{a.c}"), "'rows.csv': line 2: it does not fit the template"),
        ("rows.csv", "a,b,a\n1,2,3\n", ("--template", "{a}"), "'rows.csv' has the column 'a' twice"),
        ("rows.csv", "", ("--template", "{a}"), "'rows.csv' has no header: its first line must name the columns"),
        ("rows.csv", "\ufeff\n1\n", ("--template", "{a}"), "'rows.csv' has no header"),
        ("rows.csv", "a,b\n", ("--template", "{c}"), "the template names {c}; the columns are 'a', 'b'"),
        (
            "rows.csv",
            "a.b,c\n1,2\n",
            ("--template", "{a.b}"),
            "{a}; the columns are 'a.b', 'c'; rename 'a.b': a",
        ),
        ("rows.csv", "0,1\n1,2\n", ("--template", "{0}"), "the row has '0', '1'; rename '0': a template"),
        ("rows.csv", "a, b\n", ("--template", "{b}"), "the template names {b}; the columns are 'a', ' b'"),
        ("rows.csv", "a,b\n", (), "--template says what is asked: --template '… {a}'"),
        ("rows.csv", ",a,b\n0,1,2\n", (), "--template says what is asked: --template '… {a}'"),
        ("rows.csv", ",a,b\n0,1,2\n", ("--template", "{}"), "the template names {}; the columns are '', 'a', 'b'"),
        ("rows.csv", "a,b\n", ("--template", "{a}", "--key", "c"), "'rows.csv' has no column 'c' for --key"),
        ("rows.csv", "a,status\n", ("--template", "{a}"), "'rows.csv' has a column 'status' already"),
        ("rows.csv", "a,status\n", ("--template", "{a}"), "without the columns status, answer, error of --out"),
        ("rows.csv", 'a,b\n1,"2\n', ("--template", "{a}"), "'rows.csv': line 2 cannot be read"),
        (
            "rows.csv",
            "a;b\n1;2, 3\n",
            ("--template", "{a}"),
            "columns are separated by ';', it seems; write it with commas",
        ),
        ("rows.csv", "a\tb\n1\t2\n", ("--template", "{a}"), "columns are separated by '\\t', it seems"),
        ("rows.jsonl", '"a"\n', ("--out", "out.txt"), "--out 'out.txt' is neither .csv nor .jsonl: give it one of"),
        ("rows.jsonl", '"a"\n', ("--out", "rows.jsonl"), "--out 'rows.jsonl' is the file of the rows"),
        ("rows.jsonl", '"a"\n', ("--rate", "2"), "'2' is none such as 2/s, 90/min or 1000/h: write 2/s for so many"),
        ("rows.jsonl", '"a"\n', ("--rate", "0/s"), "'0/s' is none such as 2/s"),
        (
            "rows.jsonl",
            '"a"\n',
            ("--store", "http://x"),
            "--store takes a SQLite file, or a URL of redis://",
        ),
        ("rows.jsonl", '"a"\n', ("--store", "redis://:pass/word@x"), "not the URL of a Redis server"),
        ("rows.jsonl", '"a"\n', ("--out", "no/such/out.jsonl"), "there is no folder 'no/such' that can be written to"),
        ("rows.jsonl", '"a"\n', ("--name", ""), "the name of a batch must be a string that is not empty"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_2(batch, name, text, arguments, why):
    write(batch.folder, name, text)
    done = batch(name, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert asked(batch) == []


def test_pipes_and_folders_are_no_files(batch):
    write(batch.folder, "rows.jsonl", '"a"\n')
    (batch.folder / "out.csv").mkdir()
    (batch.folder / "link.csv").symlink_to("out.csv")
    for arguments, why in (
        (("-",), "ROWS must be a file, since it is read more than once"),
        (("rows.jsonl", "--out", "-"), "--out must be a file, since it is written whole"),
        (("rows.jsonl", "--out", "."), "--out '.' is a folder: name a .csv or .jsonl file"),
        (("rows.jsonl", "--out", "out.csv"), "--out 'out.csv' is a folder: name a .csv or .jsonl file"),
        (("rows.jsonl", "--out", "link.csv"), "--out 'link.csv' is a folder: name a .csv or .jsonl file"),
        ((".",), "'.' is neither .csv nor .jsonl"),
    ):
        done = batch(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
    assert asked(batch) == []


def test_a_file_that_cannot_be_read(batch):
    done = batch("rows.csv")
    assert done.returncode == 2
    assert "'rows.csv' cannot be read: No such file or directory" in done.stderr
    for before in (0, 2000):
        (batch.folder / "latin.csv").write_bytes(b"id,a\n" + b"1,x\n" * before + b"1,\xe9t\xe9\n1,x\n")
        said = batch("latin.csv", "--template", "{a}").stderr
        assert f"line {before + 2} cannot be read: 'utf-8' codec can't decode byte 0xe9 in position 2" in said
        assert "write the file in UTF-8" in said


@pytest.mark.parametrize("command", ["status", "failed", "retry"])
def test_a_batch_that_is_not_there(batch, command):
    done = batch.cli("batch", command, "--name", "none", "--store", "none.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no file 'none.db'" in done.stderr
    assert not (batch.folder / "none.db").exists()
    write(batch.folder, "rows.jsonl", '"a"\n')
    assert batch("rows.jsonl").returncode == 0
    done = batch.cli("batch", command, "--name", "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the store has no batch 'none'; it has 'rows'\n" in done.stderr
    alone = batch.cli("batch", command)  # there is one: that is meant
    assert (alone.returncode, alone.stdout) == (0, batch.cli("batch", command, "--name", "rows").stdout)
    assert batch("rows.jsonl", "--name", "a/b%2F").returncode == 0
    assert "; it has 'a/b%2F', 'rows'\n" in batch.cli("batch", command, "--name", "none").stderr
    done = batch.cli("batch", command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--name says which batch; the store has 'a/b%2F', 'rows'\n" in done.stderr


def test_a_store_that_cannot_be_opened_ends_with_1(batch):
    write(batch.folder, "rows.jsonl", '"a"\n')
    done = batch("rows.jsonl", "--store", "no/such/folder.db")
    assert done.returncode == 1
    assert "StoreError" in done.stderr


def test_a_store_that_is_removed_is_told_once_and_ends_it(batch):
    told, all_are_told = [], asyncio.Event()

    async def remover(ctx):
        told.append(ctx.message)
        yield ctx.text("so ")
        if len(told) == 3:
            (batch.folder / "batch.db").unlink()
            all_are_told.set()
        await all_are_told.wait()

    batch.emulator.worker("remover")(remover)
    write(batch.folder, "rows.jsonl", "".join(f'"row {number}"\n' for number in range(3)))
    url = ("--base-url", batch.emulator.url, "--api-key", "")
    done = batch.cli("batch", "run", "rows.jsonl", "--agent", "remover", *url)
    assert done.returncode == 1
    said = [line.partition(": batch.db was removed or replaced")[0] for line in done.stderr.splitlines()]
    assert said == ["a session could not be saved", "Error: StoreError"]


def test_an_output_is_whole_or_not_there(tmp_path):
    out = write(tmp_path, "out.csv", "before")
    with pytest.raises(LookupError), written(out, ("a",)) as answers:
        answers.add({"a": 1}, {"status": "done"})
        raise LookupError
    assert out.read_text() == "before"
    with written(out, ("a",)) as answers:
        answers.add({"a": 10**30}, {"status": "done", "answer": {"b": [None]}})
    assert out.read_bytes().decode() == f'a,status,answer,error\n{10**30},done,"{{""b"":[null]}}",\n'.replace(
        "\n", "\r\n"
    )
    with written(tmp_path / "out.jsonl", ("a",)) as answers:
        answers.add({"a": 10**30}, {"status": "done"})
    assert (tmp_path / "out.jsonl").read_text() == f'{{"a": {10**30}, "status": "done"}}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl"]


def test_an_output_keeps_its_mode_and_the_link_that_leads_to_it(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    real = write(folder, "real", "before")
    real.chmod(0o600)
    link = tmp_path / "out.csv"
    link.symlink_to(real)
    check_out(link, tmp_path / "rows.csv")
    with written(link, ("a",)) as answers:
        (draft,) = (path for path in folder.iterdir() if path != real)
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        answers.add({"a": 1}, {"status": "done"})
    assert link.is_symlink()
    assert real.read_text().splitlines() == ["a,status,answer,error", "1,done,,"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["real"]
    real.unlink()  # a link that leads to nothing yet
    with written(link, ("a",)) as answers:
        answers.add({"a": 1}, {"status": "done"})
    assert real.is_file()


def test_rows_are_read_again_and_again(tmp_path):
    rows = Rows(write(tmp_path, "r.ndjson", '{"b": 1}\n{"a": 2, "b": 3}\n'), key="b", template="{b}")
    assert (len(rows), rows.columns) == (2, ("b", "a"))
    assert list(rows) == list(rows) == [{"b": 1}, {"a": 2, "b": 3}]
    with pytest.raises(ConfigurationError, match="has nothing in the column 'b'"):
        rows.key_of({"a": 1}, 7)


def test_a_long_cell_is_read(tmp_path):
    long = "x" * ((1 << 20) + 1)
    assert list(Rows(write(tmp_path, "r.csv", f"a\n{long}\n"), key=None, template="{a}")) == [{"a": long}]


def test_progress_in_words():
    assert counted(BatchProgress(None, 0, 0, 0, 2)) == "0 rows: 0 done, 2 running"
    assert counted(BatchProgress(5000, 4000, 7, 3, 0)) == "4,010 of 5,000 rows: 4,000 done, 7 failed, 3 unknown"
    assert counted(BatchProgress(1, 3, 0, 0, 1)) == ("3 rows: 3 done, 1 running; the file had 1 when it was last run")


def test_the_status_counts_the_rows_that_the_file_no_longer_has(batch):
    for numbers in ((1, 2, 3), (4,)):
        write(batch.folder, "rows.csv", "".join(["id\n", *(f"{number}\n" for number in numbers)]))
        assert batch("rows.csv", "--template", "{id}", "--key", "id").returncode == 0
    done = batch.cli("batch", "status", "--name", "rows")
    assert done.stdout == "4 rows: 4 done; the file had 1 when it was last run\n"


def test_rate_and_time_left_in_words():
    progress = BatchProgress(5, 1, 0, 0, 4)
    assert paced(progress) == ""
    assert paced(attrs.evolve(progress, rate=0.0, seconds_left=0.0)) == ""
    assert paced(attrs.evolve(progress, rate=12.34, seconds_left=3724.4)) == "12.3 rows/s, 1:02:05 left"
    assert paced(attrs.evolve(progress, rate=10.0, seconds_left=0.1)) == "10.0 rows/s, 0:00:01 left"
    assert paced(attrs.evolve(progress, rate=0.5)) == "30.0 rows/min"


def test_lines_come_now_and_then_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr("toolhouse_async._cli.batch.display.PAUSE", -1)
    with Display() as display:
        display.show(BatchProgress(5, 1, 0, 0, 4))
    monkeypatch.setattr("toolhouse_async._cli.batch.display.PAUSE", 1e9)
    with Display() as display:
        display.show(BatchProgress(5, 2, 0, 0, 3))
    monkeypatch.setattr("toolhouse_async._cli.batch.display.PAUSE", -1)
    with Display() as display:
        display.show(BatchProgress(5, 3, 0, 0, 2, rate=2.0, seconds_left=1.0))
    assert capsys.readouterr().err == (
        "1 of 5 rows: 1 done, 4 running\n3 of 5 rows: 3 done, 2 running, 2.0 rows/s, 0:00:01 left\n"
    )


async def followed(display, minutes):
    """Follows a batch, of which nothing comes, for so many minutes."""
    async with (
        AsyncToolhouse("", base_url="http://127.0.0.1:1") as client,
        client.batch("worker", ["row"], store=MemorySessionStore(), name="b") as batch,
    ):
        with display, display.following(batch):
            await asyncio.sleep(60 * minutes)
        await asyncio.sleep(3600)  # in which nothing more is said


async def test_lines_come_every_five_minutes_where_no_row_comes_to_its_end(capsys):
    await followed(Display(), 14)
    assert capsys.readouterr().err == "0 of 1 rows: 0 done\n" * 2


async def test_no_further_line_comes_soon_after_one(capsys, monkeypatch):
    monkeypatch.setattr("toolhouse_async._cli.batch.display.PAUSE", -1)
    display = Display()
    asyncio.get_running_loop().call_later(299, display.show, BatchProgress(9, 2, 0, 0, 3))
    await followed(display, 14)
    assert capsys.readouterr().err == "2 of 9 rows: 2 done, 3 running\n0 of 1 rows: 0 done\n"


async def test_a_bar_is_kept_true_where_no_row_comes_to_its_end(monkeypatch):
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr("toolhouse_async._cli.batch.display.make_console", lambda file: console)
    display = Display()
    await followed(display, 1)
    assert (display._live.tasks[0].completed, display._live.tasks[0].total) == (0, 1)


def test_a_run_says_how_far_it_is_before_a_row_is_over(batch, monkeypatch):
    monkeypatch.setattr("toolhouse_async._cli.batch.display.STILL", 0)
    write(batch.folder, "rows.jsonl", '"one"\n')
    assert "0 of 1 rows: 0 done, 1 running\n" in batch("rows.jsonl").stderr


def test_a_terminal_sees_a_bar(capsys, monkeypatch):
    from io import StringIO

    from rich.console import Console

    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("toolhouse_async._cli.batch.display.make_console", lambda file: console)
    with Display() as display:
        display.show(BatchProgress(5, 1, 1, 0, 4, rate=2.0, seconds_left=61.0))
        display._live.refresh()
    assert "1 failed, 0 unknown" in screen.getvalue()
    assert "2/5" in screen.getvalue()
    assert "2.0 rows/s, 0:01:01 left" in screen.getvalue()


def test_settle_looks_at_the_history_after_words(batch):
    write(batch.folder, "rows.jsonl", '"one"\n')
    batch("rows.jsonl", "--settle", "--timeout", "0.3")
    assert batch.emulator.requests[1].method == "GET"
