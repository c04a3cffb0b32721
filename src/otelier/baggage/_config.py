"""Configuration: the hosts our entries may go to, whether inbound ones are trusted, what a request must fulfil."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap

from otelier.baggage._policy import Policy
from otelier.errors import SettingError
from otelier.faults import on_reset, read_setting, warn_of_setting
from otelier.fields import SPAN
from otelier.settings import PROPAGATE_TO, TRUST_INBOUND
from otelier.telemetry import CALL_SUPPRESSORS, suppressed


class _Config:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.on = False
        """Whether the last hops write, and inbound entries are looked at."""
        self.policy = Policy()
        """Where our entries may go."""
        self.trusts_inbound = False
        """Whether inbound entries of ours are taken for true."""
        self.given: Policy | None = None
        self.trust_given: bool | None = None


config = _Config()
on_reset(config.reset)


def propagated_to() -> tuple[str, ...]:
    """Return the hosts that count as inside because the application, or the environment, names them.

    Example:
        >>> propagated_to()
        ()
    """
    return config.policy.patterns


def trusts_inbound() -> bool:
    """Tell whether fields that come with a request are taken for true.

    Example:
        >>> trusts_inbound()
        False
    """
    return config.trusts_inbound


def named_hosts() -> Policy:
    """Return what the environment says about where the fields may go.

    Raises:
        SettingError: if it names what is no host.

    Example:
        >>> named_hosts().patterns
        ()
    """
    return Policy(PROPAGATE_TO.value(), setting=PROPAGATE_TO.variable)


def follow_environment() -> None:
    """Take what `configure` was not given from the environment; what cannot be read there warns once, and is nothing.

    Example:
        >>> follow_environment()
    """
    try:
        policy = config.given or named_hosts()
    except SettingError as exc:
        warn_of_setting(exc, None)
        policy = Policy()
    config.policy = policy
    config.trusts_inbound = read_setting(TRUST_INBOUND, config.trust_given)


def configure(*, propagate_to: Iterable[str] | None = None, trust_inbound: bool | None = None) -> None:
    """Say where the fields may go and whether inbound ones are trusted.

    What was given last holds until `uninstall`. What was never given is what the environment says.

    Args:
        propagate_to: Hosts beside those inside: exact ones or `*.example.com`; none when empty. `None` leaves what
            holds.
        trust_inbound: Whether to take inbound fields. `None` leaves what holds.

    Raises:
        SettingError: if a host, or a variable, cannot be read; everything stays as it was.
        TypeError: if *trust_inbound* is neither a `bool` nor `None`, or *propagate_to* no collection.

    Example:
        >>> configure(propagate_to=["*.example.com"])
        >>> propagated_to()
        ('*.example.com',)
    """
    if trust_inbound is not None and type(trust_inbound) is not bool:
        raise TypeError(f"init(trust_inbound=) must be a `bool` or `None`, not a {type(trust_inbound).__name__}.")
    if propagate_to is not None and not hasattr(propagate_to, "__iter__"):
        raise TypeError(f"init(propagate_to=) must be a list of hosts, not a {type(propagate_to).__name__}.")
    given = config.given if propagate_to is None else Policy(propagate_to)
    trust_given = config.trust_given if trust_inbound is None else trust_inbound
    policy = given or named_hosts()
    trusts = TRUST_INBOUND.value(trust_given)
    config.given, config.policy = given, policy
    config.trust_given, config.trusts_inbound = trust_given, trusts


HEADER: Final = "baggage"
_CLOSED: Final = frozenset[str]().union(*CALL_SUPPRESSORS.values())


def is_open(current: Context) -> bool:
    """Tell whether no LLM call is open in *current*, and instrumentation is not suppressed there.

    Exporters send under suppression, and a model's host gets nothing even where it is inside.
    """
    return _CLOSED.isdisjoint(current) or not suppressed(current, _CLOSED)


def is_propagated() -> bool:
    """Tell whether `baggage` is a configured propagator."""
    return HEADER in get_global_textmap().fields


def carries_trace(current: Context, headers: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a request with *headers*, by lower-case name, is one that baggage is propagated with.

    That is so where `baggage` is a configured propagator, and one of the others has written the trace of *current*.
    Clients' instrumentations inject both or, for excluded hosts and without a valid span, neither. A header that
    the application merely passes on from somewhere else shows another trace.
    """
    span: Any = current.get(SPAN)
    trace_id = 0 if span is None else span.get_span_context().trace_id
    if not trace_id:
        return False
    written = f"{trace_id:032x}"
    # Looked for by value first: the names are a set that every propagator makes anew.
    found = [name for name, value in headers if written in value]
    if not found:
        return False
    fields = get_global_textmap().fields
    return HEADER in fields and not {field.lower() for field in fields if field != HEADER}.isdisjoint(found)
