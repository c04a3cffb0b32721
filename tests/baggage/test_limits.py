"""How much is written, and that the application's own baggage comes first, byte for byte."""

from __future__ import annotations

import asyncio
import logging
import socket

import httpcore
import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import attach
from opentelemetry.sdk.trace import TracerProvider

import otelier
import otelier.testing
from otelier.fields import FIELD_NAMES

pytest.importorskip("tests.baggage.world")

from tests.baggage.fields import activate
from tests.baggage.world import CLIENTS, OURS, instrumented

aiohttp = pytest.importorskip("aiohttp")
clients = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if not client.h2])


@pytest.fixture
def sent(here):
    """Send one request inside by the named client and return the `baggage` it had."""

    def send(name, *, host="billing", headers=None):
        with instrumented(CLIENTS[name], activate, first=True, sampled=True):
            CLIENTS[name].send(here.url(host), headers=headers)
        (got,) = here.got
        here.got.clear()
        return got.baggage

    return send


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def keys(header):
    return [member.partition("=")[0] for member in header.split(",")]


@clients
def test_the_applications_entries_come_first(name, sent):
    """What the application has in its baggage is sent as the propagator writes it, ours behind it."""
    attach(baggage.set_baggage("tenant", "blue & green"))
    with otelier.context(user_id="u-1"):
        assert sent(name) == ("tenant=blue+%26+green,user.id=u-1",)
        assert sent(name, host="evil.example") == ("tenant=blue+%26+green",)


@clients
def test_headers_of_the_application_stay_byte_for_byte(name, sent):
    """A header that the application wrote itself keeps its spaces, properties and odd members."""
    strange = "a=1 ; p=x , b = 2,,%zz,user.id=theirs"
    with otelier.context(user_id="u-1", session_id="s-1"):
        assert sent(name, headers={"Baggage": strange}) == (f"{strange},session.id=s-1",)
        assert sent(name, host="evil.example", headers={"Baggage": strange}) == (strange,)


@clients
def test_ours_in_a_header_are_removed_outside(name, sent):
    """A member that says what a field of ours says is taken out for the outside; any other of that key stays."""
    header = "tenant=blue,user.id=u%2D1,session.id=theirs"
    with otelier.context(user_id="u-1", session_id="s-1"):
        assert sent(name, host="evil.example", headers={"baggage": header}) == ("tenant=blue,session.id=theirs",)
        assert sent(name, host="evil.example", headers={"baggage": "user.id=u-1"}) == ()


@pytest.mark.parametrize(
    ("value", "written"),
    [("u" * 1024, True), ("é" * 170, True), ("é" * 171, False), (" " * 341, True), ("/" * 342, False)],
)
def test_one_field_takes_1024_bytes(sent, value, written, caplog):
    """A value of more than 1,024 bytes percent-encoded stays here, with one warning that does not say it."""
    with otelier.context(user_id=value, session_id="s-1"):
        for _ in range(2):
            (header,) = sent("requests")
            assert keys(header) == (["user.id"] if written else []) + ["session.id"]
    told = [message for message in warnings(caplog) if "user.id" in message]
    assert len(told) == (0 if written else 1)
    assert not any(value in message for message in told)


def test_what_does_not_fit_is_told_again_after_a_reset(sent, caplog):
    """The warning comes once in a process, and once more in the next test of one."""
    for _ in range(2):
        with otelier.context(user_id="é" * 171):
            assert sent("requests") == ()
        otelier.testing.reset()
    assert len([message for message in warnings(caplog) if "user.id" in message]) == 2


def test_all_ours_take_3072_bytes(sent, caplog):
    """Together ours stay below 3,072 bytes: what comes first goes, and a later field that still fits."""
    big = dict.fromkeys(("user_id", "user_role", "agent", "session_id"), "x" * 990)
    with otelier.context(**big, agent_id="a", workflow_id="w"):
        (header,) = sent("requests")
    assert len(header) <= 3072
    assert keys(header) == ["user.id", "user.roles", "gen_ai.agent.name", "gen_ai.agent.id", "otelier.workflow.id"]
    assert [message.split()[0] for message in warnings(caplog) if "bytes" in message] == ["session.id"]


@pytest.mark.parametrize(("size", "fits"), [(8192 - 13, True), (8192 - 12, False), (8192, False), (9000, False)])
def test_ours_give_way_before_8192_bytes(sent, size, fits):
    """A header that ours would make too long for its readers is sent as the application wrote it."""
    own = ",".join(["k=" + "v" * 1000] * 7)
    own += ",z=" + "v" * (size - len(own) - 3)
    assert len(own) == size
    with otelier.context(session_id="s"):
        assert sent("requests", headers={"baggage": own}) == (own + ",session.id=s" if fits else own,)


@pytest.mark.parametrize(("count", "fitting"), [(178, 2), (179, 1), (180, 0), (200, 0)])
def test_ours_give_way_before_180_members(sent, count, fitting):
    """Members beyond 180 are not read, so ours are not added there."""
    own = ",".join(f"k{number}=v" for number in range(count))
    with otelier.context(user_id="u", session_id="s"):
        (header,) = sent("requests", headers={"baggage": own})
    assert header.startswith(own)
    assert keys(header)[count:] == ["user.id", "session.id"][:fitting]


def test_large_fields_cost_the_application_no_entry(sent):
    """With every field at its limit the application's 2.5 kB arrive whole."""
    for number in range(5):
        attach(baggage.set_baggage(f"app{number}", "x" * 500))
    large = dict.fromkeys(FIELD_NAMES, "é" * 1024)
    with otelier.context(**large):
        (header,) = sent("requests")
    assert keys(header) == [f"app{number}" for number in range(5)]
    with otelier.context(**dict.fromkeys(FIELD_NAMES, "x" * 1024)):
        (header,) = sent("requests")
    assert keys(header)[:5] == [f"app{number}" for number in range(5)]
    assert set(keys(header)[5:]) <= set(OURS)


@clients
def test_removed_entries_are_not_sent(name, sent):
    """What the application takes out of the baggage does not leave either."""
    with otelier.context(user_id="u-1", session_id="s-1"):
        attach(baggage.remove_baggage("user.id"))
        assert sent(name) == ("session.id=s-1",)


@clients
def test_the_request_of_the_application_is_not_changed(here, name):
    """Headers that the application holds never get our entries."""
    headers = {"x": "y"}
    with instrumented(CLIENTS[name], activate, first=True, sampled=True), otelier.context(user_id="u-1"):
        CLIENTS[name].send(here.url("billing"), headers=headers)
    assert headers == {"x": "y"}
    assert here.got[0].baggage == ("user.id=u-1",)


def propagated(span):
    headers: dict[str, str] = {}
    with trace.use_span(span):
        propagate.inject(headers)
    return headers


def test_a_request_object_that_is_sent_again(here):
    """httpcore's own request, which an application may keep and send again, is not changed either."""
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    request = httpcore.Request("GET", here.url("billing"), headers={"host": "billing", **propagated(span)})
    before = list(request.headers)
    with otelier.context(user_id="u-1"), trace.use_span(span), httpcore.ConnectionPool() as pool:
        pool.handle_request(request).read()
    assert here.got[0].baggage == ("user.id=u-1",)
    assert request.headers == before


def test_a_middleware_that_sends_again_elsewhere(here):
    """aiohttp's middlewares see the request after it was sent: without ours, to be sent to anywhere."""
    if not hasattr(aiohttp, "ClientHandlerType"):
        pytest.skip("aiohttp has no middlewares before 3.12")
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    seen = []

    async def look(request, handler):
        answer = await handler(request)
        seen.append(dict(request.headers))
        return answer

    async def get():
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), family=socket.AF_INET)
        async with (
            aiohttp.ClientSession(connector=connector, middlewares=(look,)) as session,
            session.get(here.url("billing"), headers=propagated(span)) as answer,
        ):
            await answer.read()

    with otelier.context(user_id="u-1"), trace.use_span(span):
        asyncio.run(get())
    assert here.got[0].baggage == ("user.id=u-1",)
    assert "baggage" not in seen[0]
