"""What of the fields leaves with a request, to which hosts, and what may come in with one."""

from __future__ import annotations

from otelier.baggage._seams import Seam, install, seams, summary, uninstall
from otelier.baggage._switch import configure, follow_environment, named_hosts, propagated_to, trusts_inbound

__all__ = [
    "Seam",
    "configure",
    "follow_environment",
    "install",
    "named_hosts",
    "propagated_to",
    "seams",
    "summary",
    "trusts_inbound",
    "uninstall",
]
