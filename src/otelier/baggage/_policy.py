"""The hosts that may receive our entries: internal hosts, judged by their name in the URL. No name is ever resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from otelier.errors import SettingError
from otelier.faults import on_reset, read_setting, warn_of_setting
from otelier.settings import PROPAGATE_TO, TRUST_INBOUND, quoted

# Written out, because `is_private` differs between Python releases and counts documentation and future use as private.
_INSIDE = tuple(
    map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)
_INSIDE_ENDINGS = (".local", ".internal", ".svc", ".cluster.local")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
# Resolvers read `134744072` and `0x08080808` as 8.8.8.8, so a number is never a name.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEPT_VERDICTS = 1024


class Policy:
    """Tells inside from outside: the hosts that are inside by what they are, and those the application named.

    Args:
        patterns: Hosts to count as inside: exact ones, or `*.example.com` for every host below `example.com`, which
            is itself not meant.
        setting: Where they come from, for the error.

    Raises:
        SettingError: if a pattern is not of that form.
    """

    def __init__(self, patterns: Iterable[str] = (), *, setting: str = "propagate_to") -> None:
        if isinstance(patterns, str):
            raise SettingError(
                f"Cannot propagate to {quoted(patterns)} ({setting}): one text would be read letter by letter. "
                f"Pass a list of hosts.",
                setting=setting,
            )
        self.patterns: Final = tuple(_pattern(pattern, setting) for pattern in patterns)
        """Hosts that the application named, in lower case."""
        self._hosts = frozenset(pattern for pattern in self.patterns if pattern[0] != "*")
        self._endings = tuple(pattern[1:] for pattern in self.patterns if pattern[0] == "*")
        self.allows = lru_cache(_KEPT_VERDICTS)(self._allows)

    def _allows(self, host: str) -> bool:
        """Return whether *host*, as it stands in the URL, is inside."""
        name = _canonical(host)
        if name in self._hosts:
            return True
        address = _address(name)
        if address is not None:
            return any(address in network for network in _INSIDE)
        labels = name.split(".")
        if not all(map(_is_label, labels)):
            return False
        if name.endswith(self._endings):
            return True
        # Beyond ASCII there are other digits and other full stops, which a resolver may read as the plain ones.
        if not name.isascii() or _NUMBER.fullmatch(labels[-1]):
            return False
        if len(labels) > 1:
            return name.endswith(_INSIDE_ENDINGS)
        # With a dot at its end a name is looked up as it stands, and one label is then a domain such as `ai.`.
        return name == "localhost" or not host.endswith(".")


def _canonical(host: str) -> str:
    """Return *host* in its one spelling: lower case, no dot at the end, an address without brackets."""
    name = host.lower()
    if name.startswith("[") and name.endswith("]") and ":" in name:
        name = name[1:-1]
    address = _address(name)
    return name.removesuffix(".") if address is None else str(address)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _pattern(pattern: object, setting: str) -> str:
    if not isinstance(pattern, str):
        raise SettingError(
            f"Cannot propagate to a {type(pattern).__name__} ({setting}): hosts are named by text. "
            f"Pass hosts such as 'billing.example.com' or '*.example.com'.",
            setting=setting,
        )
    name = _canonical(pattern.strip())
    labels = name.removeprefix("*.").split(".")
    if _address(name) is None and not all(label and _is_label(label) for label in labels):
        raise SettingError(
            f"Cannot propagate to {quoted(pattern)} ({setting}): it is no host, so nothing or too much would match. "
            f"Pass hosts such as 'billing.example.com' or '*.example.com', without scheme, user, port and path.",
            setting=setting,
        )
    return name


def _is_label(label: str) -> bool:
    """Return whether *label* can be part of a host's name; beyond ASCII it is left as given."""
    return bool(_LABEL.fullmatch(label)) if label.isascii() else label.isalnum() or "-" in label


class _Config:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.on = False
        """Whether the last hops write, and inbound entries are looked at."""
        self.policy = Policy()
        """Hosts that our entries may go to."""
        self.trusts_inbound = False
        """Whether inbound entries of ours are trusted."""
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
    """Return whether the fields of inbound requests are trusted.

    Example:
        >>> trusts_inbound()
        False
    """
    return config.trusts_inbound


def named_hosts() -> Policy:
    """Return the hosts that the environment names.

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
    """Set the hosts that the fields may go to, and whether inbound ones are trusted.

    What was given last holds until `uninstall`; what was never given is taken from the environment.

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
