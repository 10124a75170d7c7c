import asyncio
import json
import re
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.stores import new_schema
from toolhouse_async import AsyncToolhouse, JobToken, SessionManager, StreamInterruptedError
from toolhouse_async._cli.sessions.opening import Named
from toolhouse_async.stores import SQLiteSessionStore


def listed(done):
    """The rows of a list, each as its words."""
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["KEY", "AGENT", "RUN", "STATE", "AGE"]
    return rows


def test_keys_are_listed_with_what_an_operator_needs(sessions, use, hold):
    use("echo", "chat:2", "chat:1")
    use("echo", "chat:1", lost=True)
    use("analyst", "chat:1")
    hold("echo", "chat:3")
    rows = listed(sessions("list"))
    assert [(key, agent, state) for key, agent, _, state, *_ in rows] == [
        ("chat:1", "analyst", "job"),
        ("chat:1", "echo", "unknown"),
        ("chat:2", "echo", "idle"),
        ("chat:3", "echo", "held"),
    ]
    assert [row[2] == "-" for row in rows] == [False, False, False, True]
    assert [row[-1] for row in rows] == ["s", "s", "s", "-"]
    assert len(listed(sessions("list", "--agent", "echo"))) == 3


def test_a_list_is_read_by_programs(sessions, use):
    use("analyst", "chat:1", "a\x1b[31m key")
    first, second = map(json.loads, sessions("list", "--json").stdout.splitlines())
    assert first["key"] == "a\x1b[31m key"
    assert (second["key"], second["agent_id"], second["state"]) == ("chat:1", "analyst", "job")
    assert JobToken.from_json(second["token"]).job_id == second["job_id"]
    assert second["holder"] is None
    assert second["run_id"]


def test_an_empty_store_has_no_keys(sessions):
    assert listed(sessions("list")) == []
    assert sessions("list", "--json").stdout == ""


def test_a_key_is_shown(sessions, use):
    use("analyst", "chat:1")
    shown = sessions("show", "chat:1").stdout
    document = json.loads(sessions("show", "chat:1", "--json").stdout)
    assert f"token     {document['token']}\n" in shown
    assert f"job       {document['job_id']} since " in shown
    assert f"toolhouse-async status analyst {document['run_id']}" in shown


def test_a_message_of_unknown_outcome_is_shown(sessions, use):
    use("echo", "chat:1")
    use("echo", "chat:1", lost=True)
    assert "message   of unknown outcome: Book a table\n" in sessions("show", "chat:1").stdout
    document = json.loads(sessions("show", "chat:1", "--json").stdout)
    assert (document["unknown"], document["message"]) == (True, "Book a table")


def test_a_message_whose_answer_nobody_has_seen_is_listed_and_shown(sessions, service, path):
    async def is_cut():
        async with (
            SQLiteSessionStore(path) as store,
            AsyncToolhouse("", base_url=service.url) as toolhouse,
            SessionManager(toolhouse, "echo", store=store) as manager,
        ):
            await manager.send("chat:1", "Hello")
            service.faults.add(method="PUT", cut="fin", cut_after=5)
            with pytest.raises(StreamInterruptedError):
                await manager.send("chat:1", "Book a table", recover=False)

    asyncio.run(is_cut())
    ((_, _, _, state, *_),) = listed(sessions("list"))
    assert state == "unseen"
    assert "message   its answer was not seen: Book a table\n" in sessions("show", "chat:1").stdout
    document = json.loads(sessions("show", "chat:1", "--json").stdout)
    assert (document["unseen"], document["unknown"], document["message"]) == (True, False, "Book a table")


def test_a_message_without_words_is_said_to_be_empty(sessions, use):
    use("echo", "chat:1")
    use("echo", "chat:1", lost=True, message="")
    assert "message   of unknown outcome: (empty, as a resume is)\n" in sessions("show", "chat:1").stdout


def test_a_holder_is_shown_and_harmless(sessions, use, hold):
    use("echo", "chat:1")
    hold("echo", "chat:1")
    shown = sessions("show", "chat:1").stdout
    assert "holder    box:\\x1b[31m7, for another " in shown
    assert "\x1b" not in shown + sessions("list").stdout


@pytest.mark.parametrize("command", ["show", "unlock", "forget"])
def test_a_key_must_be_there_and_be_one(sessions, use, command):
    use("echo", "chat:1")
    use("poet", "chat:1")
    done = sessions(command, "chat:9")
    assert done.returncode == 2
    assert "no key 'chat:9'" in done.stderr
    done = sessions(command, "chat:1")
    assert done.returncode == 2
    assert "--agent (echo, poet)" in done.stderr
    assert len(listed(sessions("list"))) == 2


def test_a_key_is_unlocked(sessions, use, hold):
    use("echo", "chat:1")
    hold("echo", "chat:1")
    done = sessions("unlock", "chat:1")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert listed(sessions("list"))[0][3] == "held"
    done = sessions("unlock", "chat:1", "--yes")
    assert (done.returncode, done.stderr) == (0, "unlocked\n")
    assert listed(sessions("list"))[0][3] == "idle"
    done = sessions("unlock", "chat:1")
    assert (done.returncode, done.stderr) == (0, "nobody had it\n")


def test_a_key_is_forgotten_where_nobody_has_it(sessions, use, hold):
    use("echo", "chat:1")
    assert sessions("forget", "chat:1").returncode == 2
    hold("echo", "chat:1")
    done = sessions("forget", "chat:1", "--yes")
    assert done.returncode == 1
    assert "unlock" in done.stderr
    sessions("unlock", "chat:1", "--yes")
    assert sessions("forget", "chat:1", "--yes").returncode == 0
    assert listed(sessions("list")) == []


def test_an_entry_that_nobody_can_read(sessions, path):
    import asyncio

    from toolhouse_async.stores import SQLiteSessionStore

    async def spoil():
        async with SQLiteSessionStore(path) as store:
            await store.swap("echo/chat:1", None, b"{}")
            await store.swap("no key of ours", None, b"{}")

    asyncio.run(spoil())
    assert [row[:4] for row in listed(sessions("list"))] == [["chat:1", "echo", "-", "unreadable"]]
    assert "unreadable" in sessions("show", "chat:1").stdout
    assert json.loads(sessions("show", "chat:1", "--json").stdout)["state"] == "unreadable"
    assert sessions("unlock", "chat:1").returncode == 1
    assert sessions("forget", "chat:1", "--yes").returncode == 0
    assert listed(sessions("list")) == []


def test_a_store_on_a_redis_server(cli, use, redis_server):
    url = redis_server.url
    use("echo", "chat:1", store=Named(url, "of-this-test"))
    rows = listed(cli("sessions", "--store", url, "--prefix", "of-this-test", "list"))
    assert [row[0] for row in rows] == ["chat:1"]
    assert listed(cli("sessions", "--prefix", "of-another", "list", TOOLHOUSE_STORE=url)) == []
    done = cli("sessions", "--store", url, "--prefix", "of-this-test", "forget", "chat:1", "--yes")
    assert done.returncode == 0


def test_a_store_on_a_postgresql_server(cli, use, postgres_server):
    url = f"postgresql://?{urlencode(conninfo_to_dict(new_schema(postgres_server)), quote_via=quote)}"
    use("echo", "chat:1", store=Named(url, None))
    assert [row[0] for row in listed(cli("sessions", "--store", url, "list"))] == ["chat:1"]
    assert cli("sessions", "forget", "chat:1", "--yes", TOOLHOUSE_STORE=url).returncode == 0
    assert "--prefix" in cli("sessions", "--store", url, "--prefix", "x", "list").stderr


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "no store: pass --store"),
        (["--store", "none.db"], 2, "there is no file 'none.db'"),
        (["--store", "."], 2, "there is no file"),
        (["--store", __file__], 1, __file__),
        (["--store", "http://host/"], 2, "redis://"),
        (["--store", "redis://:secret/@host"], 2, "not the URL of a Redis server"),
        (["--store", "redis://127.0.0.1:1"], 1, "StoreError"),
    ],
)
def test_a_store_that_is_none(cli, tmp_path, monkeypatch, options, status, message):
    monkeypatch.chdir(tmp_path)
    done = cli("sessions", *options, "list")
    assert done.returncode == status
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_options_of_the_store_may_stand_behind_the_command(cli, path, tmp_path):
    before = cli("sessions", "--store", path, "list")
    assert before.returncode == 0
    assert cli("sessions", "list", "--store", path).stdout == before.stdout
    assert cli("sessions", "--store", tmp_path / "other.db", "list", "--store", path).stdout == before.stdout
    assert "--prefix is for" in cli("sessions", "--store", path, "list", "--prefix", "x").stderr
    assert "--store" not in cli("sessions", "list", "--help").stdout.replace("sessions --store", "")
    wrong = cli("sessions", "show", "--stor", "x", "chat:1").stderr
    assert re.search("No such option:? '?--stor\\b", wrong)  # by click's version


def test_a_prefix_is_for_redis_alone(cli, path):
    assert "--prefix" in cli("sessions", "--store", path, "--prefix", "x", "list").stderr


def test_a_file_that_is_no_store(cli, tmp_path):
    (tmp_path / "notes.txt").write_text("no database at all, but long enough to be looked at\n" * 50)
    done = cli("sessions", "--store", tmp_path / "notes.txt", "list")
    assert done.returncode == 1
    assert "StoreError" in done.stderr
