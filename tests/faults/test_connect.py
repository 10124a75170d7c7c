"""Faults 1 to 10: no connection comes about."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from typing import Any, Self

import pytest
import trustme

from tests.conversations.support import AGENT, falls_silent, said, streamed
from tests.support.answers import unused_port
from tests.support.raw_server import fin, response, rst, silence
from toolhouse_async import (
    AsyncToolhouse,
    ConnectTimeoutError,
    Limits,
    NotSentError,
    Timeouts,
    TLSError,
)

from .support import DONE, KEY, Fault, eventually, now, patched, slack


def is_safe(error: NotSentError) -> None:
    """The user is told that nothing was sent."""
    assert error.safe_to_retry is True


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts this authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


class FullQueue:
    """A listening port whose queue of connections is full, so that nobody answers the next one."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.sockets = [socket.socket(family)]
        self.sockets[0].bind((host, 0))
        self.sockets[0].listen(0)
        self.address = self.sockets[0].getsockname()[:2]
        for _ in range(4):
            waiting = socket.socket(family)
            self.sockets.append(waiting)
            waiting.setblocking(False)
            waiting.connect_ex(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()


async def test_fault_01_connection_refused(fault: Fault) -> None:
    """Nobody listens on the port.

    Outcome: ``NotSentError`` after the attempts of ``RetryPolicy``; sending again is safe.
    """
    client = fault.client(f"http://127.0.0.1:{unused_port()}")
    is_safe(await fault.fails(NotSentError, client.run(AGENT, "hi")))
    is_safe(await fault.fails(NotSentError, client.session(AGENT, run_id="r").send("hi")))
    await fault.survived()


async def test_fault_02_dns_failure(fault: Fault) -> None:
    """The host's name cannot be resolved.

    Outcome: ``NotSentError``; sending again is safe.
    """
    asked = []

    async def getaddrinfo(host: str, *_: object, **__: object) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    client = fault.client("https://agents.invalid")
    with patched(getaddrinfo=getaddrinfo):
        is_safe(await fault.fails(NotSentError, client.run(AGENT, "hi")))
    assert asked == ["agents.invalid"] * 3
    await fault.survived()


async def test_fault_03_slow_dns_cancelled(fault: Fault) -> None:
    """The resolver takes an hour, and the user cancels.

    Outcome: the cancellation comes through at once; nothing goes on looking.
    """

    async def getaddrinfo(*_: object, **__: object) -> Any:
        asked.set()
        await asyncio.sleep(3600)

    asked = asyncio.Event()
    client = fault.client("https://agents.invalid", timeouts=Timeouts(connect=None))
    with patched(getaddrinfo=getaddrinfo):
        task = asyncio.ensure_future(client.run(AGENT, "hi"))
        await asked.wait()
        began = now()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert now() - began < 1 + slack()
    await fault.survived()


async def test_fault_04_full_accept_queue(fault: Fault) -> None:
    """The server's queue of new connections is full: nobody answers the handshake of TCP.

    Outcome: ``ConnectTimeoutError``, a ``NotSentError``, after ``Timeouts.connect`` seconds an attempt.
    """
    with FullQueue(socket.AF_INET, "127.0.0.1") as queue:
        client = fault.client("http://{}:{}".format(*queue.address), timeouts=Timeouts(connect=0.2))
        began = now()
        is_safe(await fault.fails(ConnectTimeoutError, client.run(AGENT, "hi")))
        assert 0.59 < now() - began < 2 + slack()
    await fault.survived()


@pytest.mark.parametrize("end", ["silence", "FIN", "RST"])
async def test_fault_05_tls_handshake_cut(fault: Fault, end: str) -> None:
    """The server says nothing to the first words of TLS, or closes or resets the connection.

    Outcome: ``NotSentError`` (``ConnectTimeoutError`` for the silence): no byte of the message had left.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await silence(reader) if end == "silence" else {"FIN": fin, "RST": rst}[end](writer)

    listener = await fault.listener(serve)
    client = fault.client(listener.url.replace("http:", "https:"), timeouts=Timeouts(connect=0.2))
    kind = ConnectTimeoutError if end == "silence" else NotSentError
    is_safe(await fault.fails(kind, client.run(AGENT, "hi")))
    assert listener.connections == 3
    await fault.survived()


@pytest.mark.parametrize("wrong", ["host", "expired", "self-signed"])
async def test_fault_06_wrong_certificate(fault: Fault, authority: trustme.CA, wrong: str) -> None:
    """The certificate is for another host, has expired, or is signed by nobody we trust.

    Outcome: ``TLSError`` at the first attempt: another one would meet the same certificate.
    """
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    signer = trustme.CA() if wrong == "self-signed" else authority
    certificate = signer.issue_cert(
        "elsewhere.example" if wrong == "host" else "127.0.0.1",
        not_before=yesterday - dt.timedelta(days=1),
        not_after=yesterday if wrong == "expired" else yesterday + dt.timedelta(days=9),
    )
    server = await fault.server(presenting(certificate), post=[DONE])
    client = fault.client(server, ssl_context=trusting(authority))
    is_safe(await fault.fails(TLSError, client.run(AGENT, "hi")))
    assert server.connections <= 1  # asyncio counts a connection once its handshake is done
    await fault.survived()


async def test_fault_06_right_certificate(fault: Fault, authority: trustme.CA) -> None:
    """The same server with a certificate in order.

    Outcome: works, so what was refused was the certificate.
    """
    server = await fault.server(presenting(authority.issue_cert("127.0.0.1")), post=[DONE])
    await fault.read(fault.client(server, ssl_context=trusting(authority)).stream(AGENT, "hi"))
    await fault.survived("POST hi", delivered="done")


async def test_fault_07_plain_http_on_a_tls_port(fault: Fault) -> None:
    """The port that should speak TLS speaks plain HTTP.

    Outcome: ``TLSError`` at the first attempt.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(response(400, body=b"speak HTTP", chunked=False))
        await silence(reader)

    listener = await fault.listener(serve)
    client = fault.client(listener.url.replace("http:", "https:"))
    is_safe(await fault.fails(TLSError, client.run(AGENT, "hi")))
    assert listener.connections == 1
    await fault.survived()


async def test_fault_08_proxy_connect_503(fault: Fault) -> None:
    """The proxy cannot open a tunnel and says 503.

    Outcome: ``NotSentError`` that names the proxy, not an error of the API; the proxy saw neither key nor message.
    """
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(response(503, body=b"no way", chunked=False))

    proxy = await fault.listener(serve)
    client = fault.client("https://agents.invalid", proxy=proxy.url)
    error = await fault.fails(NotSentError, client.run(AGENT, "hi"))
    is_safe(error)
    assert "proxy" in str(error)
    assert [head.split(b"\r\n")[0] for head in heads] == [b"CONNECT agents.invalid:443 HTTP/1.1"] * 3
    assert KEY.encode() not in b"".join(heads)
    await fault.survived()


async def test_fault_09_pool_full_waits_in_order(fault: Fault) -> None:
    """All connections are taken by answers that go on.

    Outcome: the next messages wait, first come first served, and are sent when a connection is free.
    """
    server = await fault.server(post=[falls_silent(streamed(said("held "), ends=False)), DONE, DONE, DONE])
    client = fault.client(server, limits=Limits(max_connections=1))
    async with client.stream(AGENT, "held") as held:
        tasks = []
        for message in "abc":
            tasks.append(asyncio.ensure_future(client.run(AGENT, message)))
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert server.connections == 1
        await held.aclose()
        assert [result.text for result in await asyncio.gather(*tasks)] == ["done"] * 3
    await fault.survived("POST held", "POST a", "POST b", "POST c")


async def test_fault_09_pool_full_for_too_long(fault: Fault) -> None:
    """The same, and ``Timeouts.pool`` is set.

    Outcome: ``ConnectTimeoutError``, a ``NotSentError``, when it has passed.
    """
    server = await fault.server(post=[falls_silent(streamed(said("held "), ends=False))])
    client = fault.client(server, limits=Limits(max_connections=1), timeouts=Timeouts(pool=0.1))
    async with client.stream(AGENT, "held"):
        began = now()
        is_safe(await fault.fails(ConnectTimeoutError, client.run(AGENT, "late")))
        assert 0.29 < now() - began < 2 + slack()  # three attempts
    await fault.survived("POST held")


@pytest.mark.parametrize("dead", ["refused", "silent"])
async def test_fault_10_ipv6_dead_ipv4_alive(fault: Fault, dead: str) -> None:
    """The name has an IPv6 and an IPv4 address; the first is refused, or nobody answers there.

    Outcome: works over IPv4, long before the deadline.
    """
    server = await fault.server(post=[DONE])
    resolve = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host: str, *more: Any, **options: Any) -> Any:
        if host != "both.example":  # uvloop asks about addresses too
            return await resolve(host, *more, **options)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (*address, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", server.port)),
        ]

    with FullQueue(socket.AF_INET6, "::1") as queue, patched(getaddrinfo=getaddrinfo):
        address = queue.address if dead == "silent" else ("::1", unused_port())
        client: AsyncToolhouse = fault.client("http://both.example", allow_insecure=True)
        began = now()
        assert (await fault.read(client.stream(AGENT, "hi"))).text == "done"
        assert now() - began < 2 + slack()
        await client.aclose()
    await eventually(lambda: server.open_connections == 0)
    await fault.survived("POST hi", delivered="done")
