"""Which host receives the fields: every client, inside and outside, through redirects and proxies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import otelier
from otelier.testing import reset

pytest.importorskip("opentelemetry.instrumentation.aiohttp_client")
pytest.importorskip("opentelemetry.instrumentation.requests")
pytest.importorskip("opentelemetry.instrumentation.urllib3")

from tests.baggage.world import ALLOWED, CLIENTS, HOSTS, INSIDE, OUTSIDE, World, instrumented, world

SIX = {
    "user_id": "alice@example.com",
    "user_role": "admin, chief",
    "agent": "triage",
    "agent_id": "a-1",
    "session_id": "s 1",
    "workflow_id": "wörk",
}
WRITTEN = (
    "user.id=alice%40example.com,user.roles=admin%2C%20chief,gen_ai.agent.name=triage,gen_ai.agent.id=a-1,"
    "session.id=s%201,otelier.workflow.id=w%C3%B6rk"
)


@pytest.fixture(scope="module")
def servers() -> Iterator[World]:
    with world() as here:
        yield here


@pytest.fixture
def here(servers) -> Iterator[World]:
    servers.got.clear()
    yield servers
    reset()


def activate():
    otelier.init(propagate_to=[ALLOWED])


clients = pytest.mark.parametrize("name", CLIENTS)
orders = pytest.mark.parametrize("first", [True, False], ids=["ours-first", "theirs-first"])
samplings = pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "unsampled"])


@clients
@orders
@samplings
def test_hosts(here, name, first, sampled):
    """Hosts inside get all six fields, hosts outside the trace and nothing else."""
    client = CLIENTS[name]
    port = here.h2_port if client.h2 else None
    with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**SIX):
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
    with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**SIX):
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
    with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**SIX):
        for host in HOSTS.values():
            client.send(here.url(host), proxy=here.proxy)
        client.send(here.url("billing", "evil.example", "billing"), proxy=here.proxy)
    assert [(got.host, got.baggage) for got in here.got] == [
        (host, (WRITTEN,) if host in INSIDE.values() else ())
        for host in [*HOSTS.values(), "billing", "evil.example", "billing"]
    ]
