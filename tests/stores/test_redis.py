"""The store on a Redis server: one that restarts or does not answer, and what a URL may be."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.support.answers import unused_port
from tests.support.redis_server import RedisServer, find_redis, silent
from tests.support.stores import redis_rights
from toolhouse_async import ClosedError, ConfigurationError, StoreError
from toolhouse_async.stores import RedisSessionStore
from toolhouse_async.stores import _server as module

REAL_TIME = True


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that this test may stop."""
    program = find_redis()
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisSessionStore]:
    async with RedisSessionStore(server.url) as store:
        yield store


async def test_its_names_begin_with_the_prefix(server: RedisServer, store: RedisSessionStore) -> None:
    async with RedisSessionStore(server.url, prefix="*other\\") as other:
        for each in (store, other):
            assert await each.swap("k", None, b"x")
        assert [key async for key, _ in other.entries("")] == ["k"]
        assert sorted(await store._client.keys("*")) == [b"*other\\:k", b"toolhouse:k"]


async def test_pages_that_have_none_of_its_names(store: RedisSessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolhouse_async.stores._redis.PAGE", 1)
    await store._client.mset({f"other:{number}": b"x" for number in range(100)})
    assert [key async for key, _ in store.entries("k")] == []
    assert await store.swap("k", None, b"x")
    assert [key async for key, _ in store.entries("k")] == ["k"]


PREFIXES = [
    "app",
    "app2",
    "app:",
    "app:2",
    "app%3A",
    "app%",
    "app%25",
    "",
    ":",
    "ap",
    "a[bp]p",
    "app*",
    "APP",
    "ä",
    "\ud800",
]


async def test_stores_of_different_prefixes_do_not_see_each_other(server: RedisServer) -> None:
    """Whatever begins with what: neither by listing, nor by a key that makes up for the difference."""
    keys = ["", "2", ":", "2:k", "k", ":2:k", "%3A:k", "%", "p:k"]
    stores = {prefix: RedisSessionStore(server.url, prefix=prefix) for prefix in PREFIXES}
    for prefix, store in stores.items():
        for key in keys:
            assert (await store.read(key)).value is None, (prefix, key)
            assert await store.swap(key, None, f"{prefix!a} {key}".encode())
    for prefix, store in stores.items():
        found = {key: value async for key, value in store.entries("")}
        assert found == {key: f"{prefix!a} {key}".encode() for key in keys}
        await store.aclose()


async def test_a_server_that_was_restarted_is_used_again(server: RedisServer, store: RedisSessionStore) -> None:
    assert await store.swap("k", None, b"x")
    server.stop()
    for call in (lambda: store.read("k"), lambda: store.swap("k", b"x", b"y")):
        with pytest.raises(StoreError, match="Redis"):
            await call()
    with pytest.raises(StoreError, match="Redis"):
        await anext(store.entries(""))
    server.start()
    assert (await store.read("k")).value is None  # this one keeps nothing
    assert await store.swap("k", None, b"x")


async def test_a_server_that_does_not_answer(server: RedisServer, store: RedisSessionStore) -> None:
    await store.read("k")
    with silent(server, store), pytest.raises(StoreError, match="Timeout"):
        await store.read("k")
    assert await store.swap("k", None, b"x")


async def test_a_server_that_says_nothing_is_waited_for_once() -> None:
    """Else each call takes a multiple of the time that an answer may take."""
    connections: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent_server:
        port = silent_server.sockets[0].getsockname()[1]
        async with RedisSessionStore(f"redis://127.0.0.1:{port}?socket_timeout=0.1&socket_connect_timeout=5") as store:
            with pytest.raises(StoreError, match="Timeout"):
                await store.read("k")
        assert len(connections) == 1


async def test_a_cancelled_call_is_cancelled_whenever_that_is(store: RedisSessionStore) -> None:
    """A driver that sends by ``asyncio.wait_for`` loses a cancellation in the moment in which it has sent, on 3.11."""
    await store.read("k")
    for passes in range(40):

        async def read_for_ever() -> None:
            while True:
                await store.read("k")

        reading = asyncio.ensure_future(read_for_ever())
        for _ in range(passes):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait({reading}, timeout=10)
        assert done, passes
        assert reading.cancelled()


@pytest.mark.parametrize("passes", range(0, 20, 2))
async def test_closed_while_it_is_asked(server: RedisServer, passes: int) -> None:
    """No connection is left."""
    store = RedisSessionStore(server.url)
    reading = asyncio.ensure_future(store.read("k"))
    for _ in range(passes):
        await asyncio.sleep(0)
    await store.aclose()
    with suppress(ClosedError):
        await reading
    with client_of(server) as client:
        assert len(client.client_list()) == 1


@pytest.mark.parametrize("error", [TypeError("'NoneType' object is not callable"), OSError("gone")])
async def test_a_call_that_closing_makes_fail_says_so(store: RedisSessionStore, error: Exception) -> None:
    async def fail() -> None:
        await store.aclose()
        raise error

    with pytest.raises(ClosedError, match="the store is closed"):
        await store._connections.ask(fail)


async def test_an_error_that_is_none_of_the_server_s_is_raised_as_it_is(store: RedisSessionStore) -> None:
    async def fail() -> None:
        raise TypeError("a mistake")

    with pytest.raises(TypeError, match="a mistake"):
        await store._connections.ask(fail)


async def test_more_callers_than_connections(store: RedisSessionStore) -> None:
    done = await asyncio.gather(*(store.swap(f"k{number}", None, b"x") for number in range(20 * module.CONNECTIONS)))
    assert all(done)
    clients = await store._client.client_list()
    assert len(clients) <= module.CONNECTIONS


async def test_who_waits_for_a_connection_is_served_as_long_as_others_are(store: RedisSessionStore) -> None:
    """However long that takes: redis-py's pool gives up by itself."""
    pool = store._client.connection_pool
    used = [await pool.get_connection() for _ in range(module.CONNECTIONS)]
    pool.timeout = 0.01
    swaps = [asyncio.ensure_future(store.swap(f"k{number}", None, b"x")) for number in range(10)]
    await asyncio.sleep(0.1)
    assert not any(swap.done() for swap in swaps)
    for connection in used:
        await pool.release(connection)
    assert all(await asyncio.gather(*swaps))


async def test_who_waits_for_a_connection_to_a_server_that_hangs_is_told(
    server: RedisServer, store: RedisSessionStore
) -> None:
    await store.read("k")
    store._client.connection_pool.timeout = 0.05
    with silent(server, store):
        reads = (store.read("k") for _ in range(10 * module.CONNECTIONS))
        told = await asyncio.gather(*reads, return_exceptions=True)
    assert {type(each) for each in told} == {StoreError}
    assert any("No connection available" in str(each) for each in told)


async def test_an_entry_that_is_taken_away_while_they_are_listed(
    store: RedisSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "ab":
        await store.swap(key, None, b"x")
    scan = store._client.scan

    async def then_one_goes(*args: object, **options: object) -> object:
        found = await scan(*args, **options)
        await store.swap("a", b"x", None)
        return found

    monkeypatch.setattr(store._client, "scan", then_one_goes)
    assert [key async for key, _ in store.entries("")] == ["b"]


async def test_a_closed_one_is_not_used(server: RedisServer) -> None:
    store = RedisSessionStore(server.url)
    await store.read("k")
    await store.aclose()
    with pytest.raises(ClosedError):
        await store.read("k")
    with pytest.raises(ClosedError):
        await anext(store.entries(""))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "localhost",
        "http://user:hunter2@host/",
        "redis://host:port",
        "redis://host:0x10",
        "redis://host/name",
        7,
        "redis://h?decode_responses=true",
        "redis://h?socket_timeout=soon",
        "redis://h?protocol=7",
        "rediss://h?ssl_cert_reqs=perhaps",
        "redis://h?nonsense=1",
    ],
)
def test_what_is_no_url(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="URL") as caught:
        RedisSessionStore(bad)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (7, "must be a string, not int"),
        ("http://h://redis", "must begin with redis://"),
        ("redis://h/0#x", "must be encoded"),
        ("redis://h/0?a=x@y", "must be encoded"),
        ("unix://user/x@y", "must be encoded"),
        ("redis://h/\n@x", "must be encoded"),
        ("redis://h/0\n", "must be encoded"),
        ("redis://h:x", "host or port cannot be read"),
        ("redis://h:70000", "host or port cannot be read"),
        ("unix://host/run/redis.sock", "must be encoded"),
        ("redis://h/name", "number of a database"),
        ("redis://h?nonsense=1", "option behind the . is unknown"),
        ("redis://h?decode_responses=true", "decode_responses cannot be set"),
    ],
)
def test_why_it_is_no_url(bad: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        RedisSessionStore(bad)


@pytest.mark.parametrize(
    ("options", "answer", "connect"), [("", 5, 5), ("?socket_timeout=9", 9, 5), ("?socket_connect_timeout=2", 5, 2)]
)
def test_how_long_it_waits(options: str, answer: float, connect: float) -> None:
    connections = RedisSessionStore(f"redis://h{options}")._connections
    settings = connections.client.connection_pool.connection_kwargs
    assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (answer, connect)
    assert connections.patience == answer
    retry = settings["retry"]
    assert retry._retries == 2
    assert [retry._backoff.compute(failures) for failures in (1, 2, 9)] == [0.1, 0.2, 0.5]


def test_the_names_of_no_prefix_begin_with_another() -> None:
    assert module.name_prefix("a%b:c") == b"a%25b%3Ac:"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
@pytest.mark.parametrize("user", ["", "user", "7"])
@pytest.mark.parametrize(
    "password",
    ["zq/xw", "zq#xw", "zq?xw", "zq/", "#zq", "12/34", "12?34", "1/2?3#4", "zq?a=xw", "zq[xw", "zq\nxw", "/"],
)
def test_a_password_that_is_not_encoded(scheme: str, user: str, password: str) -> None:
    where = "/tmp/redis.sock" if scheme == "unix" else "host.example:6379/2"
    with pytest.raises(ConfigurationError) as caught:
        RedisSessionStore(f"{scheme}://{user}:{password}@{where}")
    told = str(caught.value)
    assert "urllib.parse.quote(password, safe='')" in told
    told = told.replace("quote(password", "")
    for part in ("zq", "xw", "12", "34"):
        assert part not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("password", ["zq/xw", "zq#?[]@:%", "50%", " \n", "p@ss"])
def test_a_password_that_is_encoded(password: str) -> None:
    store = RedisSessionStore(f"redis://user:{quote(password, safe='')}@host.example:6379/2")
    settings = store._client.connection_pool.connection_kwargs
    wanted = {"host": "host.example", "port": 6379, "db": 2, "username": "user", "password": password}
    assert {name: settings[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://[::1]:6379/0",
        "redis://:p@ss:word@host/0",
        "rediss://host/?db=3",
        "unix:///tmp/a@b.sock?db=1",
        "unix://u:p@/tmp/x.sock",
        "redis://host/0?client_name=x&health_check_interval=5",
    ],
)
def test_what_is_a_url(url: str) -> None:
    RedisSessionStore(url)


# Fail-overs


class Pair:
    """A primary and its replica, behind a name that leads to whichever is the primary."""

    def __init__(self, folder: Path) -> None:
        self._link = folder / "primary.sock"
        self._folders = [folder / name for name in "ab"]
        for each in self._folders:
            each.mkdir()
        self.primary, self.replica = (RedisServer(find_redis(), each, unused_port()) for each in self._folders)
        self.url = f"unix://{self._link}"

    def start(self) -> None:
        for server in (self.primary, self.replica):
            server.start()
        self._follow(self.replica, self.primary)
        self._lead_to(0)

    def fail_over(self) -> None:
        """Let the replica take over, which has all that was written, and the old primary live on as its replica."""
        with client_of(self.primary) as old, client_of(self.replica) as new:
            while new.info("replication")["slave_repl_offset"] < old.info("replication")["master_repl_offset"]:
                time.sleep(0.01)
            new.replicaof("NO", "ONE")
        self._follow(self.primary, self.replica)
        self._lead_to(1)

    def stop(self) -> None:
        for server in (self.primary, self.replica):
            server.stop()

    def _lead_to(self, number: int) -> None:
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self._folders[number] / "redis.sock")

    @staticmethod
    def _follow(replica: RedisServer, primary: RedisServer) -> None:
        with client_of(replica) as client:
            client.replicaof("127.0.0.1", primary.port)
            while client.info("replication")["master_link_status"] != "up":
                time.sleep(0.01)


def client_of(server: RedisServer) -> Redis:
    return Redis.from_url(server.url)


@pytest.fixture
def pair() -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    pair = Pair(folder)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(folder)


async def test_a_primary_that_becomes_a_replica_is_left(pair: Pair) -> None:
    async with RedisSessionStore(pair.url) as store:
        assert all(await asyncio.gather(*(store.swap(f"k{number}", None, b"x") for number in range(30))))
        pair.fail_over()
        assert all(await asyncio.gather(*(store.swap(f"k{number}", b"x", b"y") for number in range(30))))
        assert (await store.read("k1")).value == b"y"
        with client_of(pair.replica) as client:
            assert client.get("toolhouse:k1") == b"y"


async def test_a_primary_that_becomes_a_replica_with_no_other_to_be_found(pair: Pair) -> None:
    async with RedisSessionStore(pair.primary.url) as store:
        assert await store.swap("k", None, b"x")
        pair.fail_over()
        with pytest.raises(StoreError, match="ReadOnly"):
            await store.swap("k", b"x", b"y")
        with client_of(pair.primary) as client:
            client.replicaof("NO", "ONE")
        assert await store.swap("k", b"x", b"y")


async def test_a_primary_that_has_lost_its_replicas_is_left(pair: Pair) -> None:
    async with RedisSessionStore(pair.url) as store:
        assert await store.swap("k", None, b"x")
        with client_of(pair.primary) as client:
            client.config_set("min-replicas-to-write", 2)
        with pytest.raises(StoreError, match="eplicas"):
            await store.swap("k", b"x", b"y")
        pair.fail_over()
        assert await store.swap("k", b"x", b"y")


async def test_a_script_that_fails_otherwise_is_told(server: RedisServer, store: RedisSessionStore) -> None:
    with client_of(server) as client:
        client.lpush("toolhouse:k", "x")
    with pytest.raises(StoreError, match="wrong kind"):
        await store.read("k")


# Rights


async def test_each_right_that_the_page_gives_is_needed(server: RedisServer) -> None:
    """All tests of a ``Place`` on a Redis server make do with them."""
    url = server.url.replace("unix://", "unix://store:password@")
    rights = [right for right in redis_rights() if right.startswith("+")]
    rights.remove("+ping")  # which a URL with health_check_interval= needs, after seconds
    for left_out in ("", *rights):
        with client_of(server) as client:
            client.script_flush()
            client.execute_command(*redis_rights(), *([left_out.replace("+", "-")] if left_out else []))
        async with RedisSessionStore(f"{url}?protocol=3") as store:
            with pytest.raises(StoreError) if left_out else nullcontext():
                assert await store.swap("k", None, b"x")
                assert [key async for key, _ in store.entries("")] == ["k"]
                assert (await store.read("k")).value == b"x"
                assert await store.swap("k", b"x", None)
        with client_of(server) as client:
            client.flushall()


# What asking again does not change


@pytest.mark.parametrize("what", ["database", "no password", "wrong password", "no right", "another kind"])
async def test_what_lasts_is_told_at_once(server: RedisServer, what: str) -> None:
    query = "?db=99" if what == "database" else "?username=clerk&password=wrong" if what == "wrong password" else ""
    with client_of(server) as client:
        if what == "no right":
            client.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
        if what == "another kind":
            client.lpush("toolhouse:k", "x")
        if what == "no password":
            client.config_set("requirepass", "hunter2")
    async with RedisSessionStore(server.url + query) as store:
        with pytest.raises(StoreError, match="Redis") as caught:
            await store.read("k")
    assert caught.value.is_lasting, caught.value


@pytest.mark.parametrize(
    ("told", "lasts"),
    [
        ("unknown command 'EVAL', with args beginning with:", True),
        ("DENIED Redis is running in protected mode because protected mode is enabled", True),
        ("max number of clients reached", False),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("MISCONF Redis is configured to save RDB snapshots, but it is unable to persist to disk.", False),
    ],
)
async def test_what_lasts_is_told_from_what_passes(store: RedisSessionStore, told: str, lasts: bool) -> None:
    async def fail() -> None:
        raise ResponseError(told)

    with pytest.raises(StoreError) as caught:
        await store._connections.ask(fail)
    assert caught.value.is_lasting == lasts


async def test_what_passes_is_asked_again(server: RedisServer, store: RedisSessionStore) -> None:
    server.stop()
    with pytest.raises(StoreError) as caught:
        await store.read("k")
    assert not caught.value.is_lasting


# Other event loops, other processes


def test_one_event_loop_uses_it(server: RedisServer) -> None:
    store = RedisSessionStore(server.url)

    async def use() -> None:
        await store.swap("k", None, b"x")
        await store._client.aclose()

    async def use_elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="event loop"):
            await store.read("k")
        with pytest.raises(ConfigurationError, match="event loop"):
            await anext(store.entries(""))

    with asyncio.Runner() as one, asyncio.Runner() as two:
        one.run(use())
        two.run(use_elsewhere())
        with pytest.raises(ConfigurationError, match="event loop"):
            two.run(store.aclose())
    asyncio.run(store.aclose())  # nothing is left to close
    asyncio.run(store.aclose())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_child_process_is_told(server: RedisServer) -> None:
    code = f"""
import asyncio, os, sys
from toolhouse_async import ConfigurationError
from toolhouse_async.stores import RedisSessionStore

store = RedisSessionStore({server.url!r})

async def child():
    for call in (lambda: store.read("k"), lambda: anext(store.entries(""))):
        try:
            await call()
        except ConfigurationError as error:
            print(error)
    await store.aclose()

async def parent():
    assert await store.swap("k", None, b"x")
    if os.fork() == 0:
        return True
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert (await store.read("k")).value == b"x"
    await store.aclose()

runner = asyncio.Runner()
if runner.run(parent()):
    runner = None
    asyncio.run(child())
    sys.stdout.flush()
    os._exit(0)
runner.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("after the fork") == 2


@pytest.mark.parametrize("url", ["rediss://:hunter2@redis.example:6380/1", "redis://127.0.0.1:1"])
async def test_a_url_is_not_used_before_it_is_needed(url: str) -> None:
    store = RedisSessionStore(url)
    assert "hunter2" not in repr(store)
    await store.aclose()


async def test_nobody_listens() -> None:
    async with RedisSessionStore("redis://127.0.0.1:1") as store:
        with pytest.raises(StoreError, match="Connect"):
            await store.read("k")


@pytest.mark.usefixtures("traced")
def test_without_its_library() -> None:
    code = "import sys; sys.modules['redis'] = None; from toolhouse_async.stores import RedisSessionStore"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: RedisSessionStore and RedisTurnHub need redis" in done.stderr
    assert "pip install 'toolhouse-async[redis]'" in done.stderr


async def test_what_a_child_process_inherits_is_let_alone(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisSessionStore(server.url)
    assert await store.swap("k", None, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ConfigurationError, match="fork"):
            await store.read("k")
        await store.aclose()
    assert await store._client.ping()
    await store._client.aclose()
