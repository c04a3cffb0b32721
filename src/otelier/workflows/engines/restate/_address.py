"""Addresses: where Restate's server is, where this worker listens, and how the server reaches it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from otelier.errors import EngineError
from otelier.faults import read_setting
from otelier.settings import RESTATE_IDENTITY_KEY, WORKER_BIND, WORKER_URL

SCHEME: Final = "restate://"
INGRESS_PORT: Final = 8080
ADMIN_PORT: Final = 9070


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server takes requests, and where it is administered."""

    host: str
    ingress: int
    admin: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}{host}:{self.ingress}?admin={self.admin}"


@dataclass(frozen=True, slots=True)
class WorkerAddress:
    """Where a worker listens, and the URL by which the server reaches it."""

    host: str
    port: int
    """0 for any that is free."""
    url: str | None
    """`None` is made of what it listens at."""
    identity_keys: tuple[str, ...]
    """Public keys of servers whose requests are taken; without any, everybody's."""


def parse_address(text: str) -> Address:
    """Return the address that `restate://HOST[:8080][?admin=9070]` names.

    Raises:
        EngineError: if it is none.

    Example:
        >>> str(parse_address("restate://localhost"))
        'restate://localhost:8080?admin=9070'
    """
    try:
        parts = urlsplit(text)
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        admin = int(given.pop("admin", ADMIN_PORT))
        host, ingress = parts.hostname, INGRESS_PORT if parts.port is None else parts.port
        fits = not given and parts.path in {"", "/"} and not parts.fragment and parts.username is None
    except ValueError:
        host, ingress, admin, fits = None, 0, 0, False
    if not text.startswith(SCHEME) or not host or not fits or not (0 < ingress < 65536 and 0 < admin < 65536):
        raise EngineError(
            f"Cannot open engine {text!r}: that is no address of a Restate server. Write "
            "`restate://HOST[:8080][?admin=9070]`, such as `restate://localhost`."
        )
    return Address(host, ingress, admin)


def worker_address(bind: str | None = None, url: str | None = None) -> WorkerAddress:
    """Return where this worker listens, by its arguments or settings.

    Raises:
        EngineError: if the address is none, or is public while requests are not verified.
    """
    where = read_setting(WORKER_BIND, bind)
    host, _, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise EngineError(
            f"Cannot listen at {where!r}: that is no HOST:PORT. Set {WORKER_BIND.variable} to one, such as "
            f"`{WORKER_BIND.default}`."
        )
    keys = tuple(key.strip() for key in (read_setting(RESTATE_IDENTITY_KEY, None) or "").split(",") if key.strip())
    if not keys and not _is_loopback(host):
        raise EngineError(
            f"Cannot listen at {where}: whoever reaches it could run every handler with any input, since no key says "
            f"which requests are the server's. Set {RESTATE_IDENTITY_KEY.variable} to the server's public key, or "
            f"{WORKER_BIND.variable} to an address of this machine only, such as `{WORKER_BIND.default}`."
        )
    public = read_setting(WORKER_URL, url)
    if public is None and host in {"0.0.0.0", "::"}:  # noqa: S104 -- it is what is refused here
        raise EngineError(
            f"Cannot tell Restate's server how to reach a worker that listens at {where}: that is every address of "
            f"this machine. Set {WORKER_URL.variable} to the URL by which the server reaches it, such as "
            "`http://10.0.0.5:9080`."
        )
    if public is not None and urlsplit(public).scheme not in {"http", "https"}:
        raise EngineError(
            f"Cannot tell Restate's server to reach this worker at {public!r}: that is no URL. Set "
            f"{WORKER_URL.variable} to one, such as `http://10.0.0.5:9080`."
        )
    return WorkerAddress(host, int(port), None if public is None else public.rstrip("/"), keys)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
