"""Tracers of our own: from the provider that holds at each use, and without asking the SDK anew each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from otelier.telemetry import trace_to, tracer


class Counting(TracerProvider):
    """Counts how often it is asked for a tracer."""

    asked = 0

    def get_tracer(self, *args: object, **kwargs: object) -> Tracer:
        self.asked += 1
        return super().get_tracer(*args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _global_again() -> Iterator[None]:
    yield
    trace_to(None)


def test_a_provider_is_asked_once_for_each_scope():
    """The SDK changes the filters of warnings with each question, so that those shown once are shown again."""
    provider = Counting(shutdown_on_exit=False)
    trace_to(provider)
    first = tracer("otelier.a")
    assert [tracer("otelier.a") for _ in range(3)] == [first] * 3
    assert tracer("otelier.b") is not first
    assert provider.asked == 2


def test_the_provider_that_holds_now():
    """A tracer of the former provider is not used any more once there is another."""
    former, later = Counting(shutdown_on_exit=False), Counting(shutdown_on_exit=False)
    trace_to(former)
    before = tracer("otelier.a")
    trace_to(later)
    after = tracer("otelier.a")
    assert after is not before
    trace_to(former)
    assert tracer("otelier.a") is not after  # whether it is the one from before is the SDK's to say
    assert (former.asked, later.asked) == (2, 1)
