"""Hosts that are IPv6 addresses, on real sockets of IPv6."""

from __future__ import annotations

import ipaddress
import socket

import pytest

import otelier
from tests.baggage.fields import GIVEN, WRITTEN, activate

kit = pytest.importorskip("tests.baggage.world")

INSIDE = ("[::1]", "[fd12:3456::1]", "localhost", "billing")
OUTSIDE = ("[2001:db8::7]", "[fe80::1]", "[::ffff:cb00:7107]", "evil.example")


def plain(host):
    """Return *host*, an address in its shortest form: Pythons and clients differ in how they write one."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host


@pytest.fixture(scope="module")
def servers():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with kit.world("::1") as here:
        yield here


@pytest.mark.parametrize("name", [name for name, client in kit.CLIENTS.items() if not client.h2])
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
def test_hosts(here, name, proxied):
    """Loopback and private addresses get all fields, others none, with and without a proxy, and after redirects."""
    client = kit.CLIENTS[name]
    hosts = [*INSIDE, *OUTSIDE]
    way = ("[::1]", "[2001:db8::7]", "[fd12:3456::1]")
    with kit.instrumented(client, activate, first=True, sampled=True), otelier.context(**GIVEN):
        for host in hosts:
            client.send(here.url(host), proxy=here.proxy if proxied else None)
        client.send(here.url(*way), proxy=here.proxy if proxied else None)
    assert [(plain(got.host), got.baggage) for got in here.got] == [
        (plain(host), (WRITTEN,) if host in INSIDE else ()) for host in [*hosts, *way]
    ]
    assert all(got.traceparent for got in here.got)
