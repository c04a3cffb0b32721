"""Which host receives the fields: every client, inside and outside, through redirects and proxies."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest

import otelier

pytest.importorskip("tests.baggage.world")

from tests.baggage.fields import GIVEN, WRITTEN, activate
from tests.baggage.world import CLIENTS, HOSTS, INSIDE, OUTSIDE, instrumented

clients = pytest.mark.parametrize("name", CLIENTS)
orders = pytest.mark.parametrize("first", [True, False], ids=["ours-first", "theirs-first"])
samplings = pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "unsampled"])


@clients
@orders
@samplings
def test_hosts(here, name, first, sampled):
    """Hosts inside get all fields, hosts outside the trace and nothing else."""
    client = CLIENTS[name]
    port = here.h2_port if client.h2 else None
    with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**GIVEN):
        for host in HOSTS.values():
            client.send(here.url(host, port=port))
    assert all(got.traceparent for got in here.got)
    assert {got.host: got.baggage for got in here.got} == {
        **dict.fromkeys(INSIDE.values(), (WRITTEN,)),
        **dict.fromkeys(OUTSIDE.values(), ()),
    }


@clients
@orders
@samplings
@pytest.mark.parametrize("outside", ["evil.example", "169.254.169.254"])
def test_redirects(here, name, first, sampled, outside):
    """A redirect to the outside takes nothing along, and one back to the inside is written anew."""
    client = CLIENTS[name]
    way = ("billing", outside, "localhost", outside, "127.0.0.1")
    with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**GIVEN):
        client.send(here.url(*way, port=here.h2_port if client.h2 else None))
    assert [(got.host, got.baggage) for got in here.got] == [
        (host, () if host == outside else (WRITTEN,)) for host in way
    ]


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if not client.h2])
@orders
@samplings
def test_proxies(here, name, first, sampled):
    """Through a proxy, which stands outside here, the target counts."""
    client = CLIENTS[name]
    with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**GIVEN):
        for host in HOSTS.values():
            client.send(here.url(host), proxy=here.proxy)
        client.send(here.url("billing", "evil.example", "billing"), proxy=here.proxy)
    assert [(got.host, got.baggage) for got in here.got] == [
        (host, (WRITTEN,) if host in INSIDE.values() else ())
        for host in [*HOSTS.values(), "billing", "evil.example", "billing"]
    ]


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if not client.h2 and name != "aiohttp"])
@orders
def test_socks_proxies(here, name, first):
    """Through a SOCKS proxy the target counts as well; aiohttp knows none."""
    pytest.importorskip("socks" if name in ("requests", "urllib3") else "socksio", reason="needs the client's `socks`")
    client = CLIENTS[name]
    with instrumented(client, activate, first=first, sampled=True), otelier.context(**GIVEN):
        for host in HOSTS.values():
            client.send(here.url(host), proxy=here.socks_proxy)
        client.send(here.url("billing", "evil.example", "billing"), proxy=here.socks_proxy)
    assert [(got.host, got.baggage) for got in here.got] == [
        (host, (WRITTEN,) if host in INSIDE.values() else ())
        for host in [*HOSTS.values(), "billing", "evil.example", "billing"]
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of the test's own."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if not client.h2])
@orders
def test_tunnels(here, name, first, certificate, monkeypatch):
    """In a tunnel the host at its end counts; the request that opens the tunnel carries nothing."""
    client = CLIENTS[name]
    monkeypatch.setattr(here, "tls", certificate)
    way = ("billing", "evil.example", "api.partner.example")
    with instrumented(client, activate, first=first, sampled=True), otelier.context(**GIVEN):
        client.send(here.url(*way, scheme="https"), proxy=here.proxy)
    assert [got.baggage for got in here.got if got.host == "tunnel"] == [()] * 3
    assert [(got.host, got.baggage) for got in here.got if got.host != "tunnel"] == [
        (host, () if host == "evil.example" else (WRITTEN,)) for host in way
    ]
