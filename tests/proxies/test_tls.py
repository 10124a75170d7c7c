"""nginx ends TLS, and would speak HTTP/2."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

from tests.conversations.support import AGENT, KEY
from toolhouse_async import AsyncToolhouse, BadRequestError, ProtocolError, ServerError, TLSError

from .nginx import Nginx
from .support import PASS, WHOLE, Job, Proxied


async def secured(proxied: Proxied, authority: trustme.CA, name: str = "127.0.0.1", **lines: str) -> Nginx:
    """An nginx with a certificate, which speaks HTTP/2 to whoever asks for it."""
    certificate, key = (proxied.folder / name for name in ("certificate.pem", "key.pem"))
    issued = authority.issue_cert(name)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    server = f"ssl_certificate {certificate}; ssl_certificate_key {key}; {lines.pop('server', '')}"
    return await proxied.nginx(server=server, listen="ssl http2", **lines)


def trusting(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    """A context that trusts the authority, and offers protocols in the handshake."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["no ALPN", "ALPN"])
async def test_a_conversation_over_tls_that_could_be_http_2(
    proxied: Proxied, authority: trustme.CA, protocols: Any
) -> None:
    nginx = await secured(proxied, authority, location=f"{PASS} add_header X-Spoken $server_protocol;")
    assert nginx.url.startswith("https://")
    toolhouse = await proxied.client(nginx, ssl_context=trusting(authority, *protocols))
    async with toolhouse.session(AGENT) as session:
        for message in (WHOLE, "thanks"):
            async with session.stream(message, settle=True) as turn:
                assert (await turn.result()).text == message
            assert turn.headers["X-Spoken"] == "HTTP/1.1"
    proxied.accepted(f"POST {WHOLE}", "PUT thanks")


async def test_a_job_over_tls(proxied: Proxied, authority: trustme.CA) -> None:
    Job(proxied, polls=3)
    toolhouse = await proxied.client(await secured(proxied, authority), ssl_context=trusting(authority))
    assert (await toolhouse.run(AGENT, "hi")).text == "working, done"
    proxied.accepted("POST hi", "PUT ")


async def test_a_cut_over_tls_is_healed(proxied: Proxied, authority: trustme.CA) -> None:
    proxied.emulator.faults.add(method="POST", cut="rst", cut_after=28)
    toolhouse = await proxied.client(await secured(proxied, authority), ssl_context=trusting(authority))
    result = await toolhouse.run(AGENT, WHOLE)
    assert (result.text, result.recovered) == (WHOLE, True)
    proxied.accepted(f"POST {WHOLE}")


async def test_a_certificate_of_an_unknown_authority_is_refused(proxied: Proxied, authority: trustme.CA) -> None:
    toolhouse = await proxied.client(await secured(proxied, authority))
    await refused(proxied, toolhouse)


async def test_a_certificate_of_another_host_is_refused(proxied: Proxied, authority: trustme.CA) -> None:
    nginx = await secured(proxied, authority, "other.test")
    toolhouse = await proxied.client(nginx, ssl_context=trusting(authority))
    await refused(proxied, toolhouse)


async def refused(proxied: Proxied, toolhouse: AsyncToolhouse) -> None:
    """The certificate is not accepted, and nothing is sent."""
    with pytest.raises(TLSError) as caught:
        await toolhouse.run(AGENT, "hi")
    assert caught.value.safe_to_retry is True
    assert proxied.server.requests == []
    proxied.accepted()


async def test_plain_http_to_the_tls_port_is_a_400(proxied: Proxied, authority: trustme.CA) -> None:
    nginx = await secured(proxied, authority)
    toolhouse = await proxied.client(nginx, base_url=nginx.url.replace("https", "http"))
    with pytest.raises(BadRequestError, match="plain HTTP request was sent to HTTPS port"):
        await toolhouse.run(AGENT, "hi")
    assert proxied.server.requests == []
    proxied.accepted()


async def test_http_2_is_not_to_be_asked_for(proxied: Proxied, authority: trustme.CA) -> None:
    """The client speaks HTTP/1.1: with a context that offers HTTP/2 nginx takes its word for it."""
    nginx = await secured(proxied, authority)
    toolhouse = await proxied.client(nginx, ssl_context=trusting(authority, "h2", "http/1.1"))
    with pytest.raises(ProtocolError, match="must not offer h2") as caught:
        await toolhouse.run(AGENT, "hi")
    assert caught.value.safe_to_retry is True
    assert proxied.server.requests == []
    proxied.accepted()


async def chained(proxied: Proxied, authority: trustme.CA, trusted: trustme.CA | None = None) -> AsyncToolhouse:
    """A client of an nginx that talks TLS to a second one, and trusts that authority (by default anybody)."""
    inner = await secured(proxied, authority, "localhost")
    verify = ""
    if trusted is not None:
        file = proxied.folder / "trusted.pem"
        trusted.cert_pem.write_to_path(file)
        verify = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {file}; proxy_ssl_name localhost;"
    return await proxied.client(await proxied.nginx(f"{PASS} {verify}", upstream=inner.url))


async def test_nginx_can_verify_the_service(proxied: Proxied, authority: trustme.CA) -> None:
    toolhouse = await chained(proxied, authority, authority)
    assert (await toolhouse.run(AGENT, WHOLE)).text == WHOLE
    proxied.accepted(f"POST {WHOLE}")


async def test_a_service_that_nginx_does_not_trust_is_a_502(proxied: Proxied, authority: trustme.CA) -> None:
    toolhouse = await chained(proxied, authority, trustme.CA())
    with pytest.raises(ServerError) as caught:
        await toolhouse.run(AGENT, WHOLE)
    assert caught.value.status == 502
    assert proxied.server.requests == []
    proxied.accepted()


async def test_nginx_gives_the_key_to_anybody_by_default(proxied: Proxied, authority: trustme.CA) -> None:
    """A hazard of nginx's defaults: it does not look at certificates of services."""
    toolhouse = await chained(proxied, authority)
    assert (await toolhouse.run(AGENT, WHOLE)).text == WHOLE
    assert proxied.server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    proxied.accepted(f"POST {WHOLE}")
