"""Propagators that carry baggage in headers of their own: the same rules."""

from __future__ import annotations

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context, attach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

import otelier

jaeger = pytest.importorskip("opentelemetry.propagators.jaeger")
ot_trace = pytest.importorskip("opentelemetry.propagators.ot_trace")

propagators = pytest.mark.parametrize(
    ("propagator", "prefix"),
    [(jaeger.JaegerPropagator(), "uberctx-"), (ot_trace.OTTracePropagator(), "ot-baggage-")],
    ids=["jaeger", "ot-trace"],
)


def injected(propagator):
    span = TracerProvider().get_tracer("tests").start_span("work")
    carrier: dict[str, str] = {}
    propagator.inject(carrier, set_span_in_context(span, get_current()))
    return carrier


@propagators
def test_they_never_write_ours(propagator, prefix):
    """They write the application's entries and none of the fields, and no last hop adds those."""
    otelier.init()
    attach(baggage.set_baggage("tenant", "blue"))
    with otelier.context(user_id="u-1", session_id="s-1"):
        carrier = injected(propagator)
    assert {key: value for key, value in carrier.items() if key.startswith(prefix)} == {f"{prefix}tenant": "blue"}


@propagators
@pytest.mark.parametrize("trust", [True, False])
def test_what_they_bring_in(propagator, prefix, trust):
    """Inbound entries of our keys are dropped, or taken where they are trusted."""
    otelier.init(trust_inbound=trust)
    carrier = injected(propagator)
    carrier.update({f"{prefix}user.id": "mallory", f"{prefix}gen_ai.agent.name": "evil", f"{prefix}tenant": "blue"})
    attach(propagator.extract(carrier, Context()))
    assert otelier.get_context() == otelier.CallContext(user_id="mallory" if trust else None)
    assert dict(baggage.get_all()) == {"tenant": "blue", **({"user.id": "mallory"} if trust else {})}
