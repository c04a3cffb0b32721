"""Fields in `baggage` headers: outbound ones go to internal hosts only, inbound ones are dropped unless trusted."""

from __future__ import annotations

from otelier.baggage._config import configure, follow_environment, named_hosts, propagated_to, trusts_inbound
from otelier.baggage._patches import ClientPatch, client_patches, install, summary, uninstall

__all__ = [
    "ClientPatch",
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
