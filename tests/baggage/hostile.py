"""What somebody may send under our keys, and what would be passed on of it."""

from __future__ import annotations

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

ALL = (
    "user.id=mallory,user.roles=root,gen_ai.agent.name=evil,gen_ai.agent.id=e-1,session.id=s-9,otelier.workflow.id=w-9,"
    "otelier.tenant.id=t-9"
)
KEYS = (
    "user.id",
    "user.roles",
    "gen_ai.agent.name",
    "gen_ai.agent.id",
    "session.id",
    "otelier.workflow.id",
    "otelier.tenant.id",
)
HOSTILE = {
    "8 KiB": "user.id=" + "a" * 8184,
    "9 KiB": "user.id=" + "a" * 9216,
    "4 KiB of a field": "user.id=" + "a" * 4000,
    "bad percent-encoding": "user.id=%ZZ%,session.id=%",
    "bytes that are no text": "user.id=%FF%FE",
    "control characters": "user.id=a%00b,session.id=a%0Ab,otelier.workflow.id=%7F",
    "lone surrogate": "user.id=%ED%A0%80",
    "not ASCII": "user.id=ü",
    "500 entries": ",".join(f"k{number}=v" for number in range(493)) + "," + ALL,
    "500 of ours": ",".join(f"user.id=u{number}" for number in range(500)),
    "duplicates": "user.id=a,user.id=b,user.id=c",
    "encoded keys": "user%2Eid=a, session.id =b ,%75ser.roles=c",
    "empty": "user.id=,user.roles=,gen_ai.agent.name=,session.id=",
    "properties": "user.id=a;p=1;q,session.id=b;x",
    "nothing but separators": ",,,=,;=,",
    "all": ALL,
}


def with_our_own(header: str) -> str:
    """Return *header* with an entry of the application's before it, where both are not too long to be read at all."""
    return f"tenant=blue,{header}" if len(header) < 8000 else header


def passed_on(context: Context) -> str:
    """What the propagator would write from here."""
    carrier: dict[str, str] = {}
    W3CBaggagePropagator().inject(carrier, context)
    return carrier.get("baggage", "")


def keys(header: str) -> list[str]:
    return [member.partition("=")[0] for member in header.split(",")]
