"""Fields in `baggage` headers: outbound ones go to internal hosts only, inbound ones are dropped unless trusted."""

from __future__ import annotations

from otelier.baggage._clients import client_patches, install, summary, uninstall
from otelier.baggage._policy import configure, follow_environment, named_hosts, propagated_to, trusts_inbound

__all__ = [
    "client_patches",
    "configure",
    "follow_environment",
    "install",
    "named_hosts",
    "propagated_to",
    "summary",
    "trusts_inbound",
    "uninstall",
]
