"""Traffic of the demonstration: users, their requests, and how they are sent, the same in every run."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from otelier.errors import OtelierError

TIMEOUT_S = 120.0
"""Longest wait for one answer, in seconds: the first ones load the client, for which a busy machine needs its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to the service."""

    path: str
    """Path, which names the agent where one is named."""
    message: str
    """Text of the request."""
    status: int = 200
    """Status that the answer must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user and their requests, one after the other."""

    user_id: str
    """Id of the user, `tenant/name`."""
    role: str
    """Role of the user."""
    asks: tuple[Ask, ...]
    """Requests in their order."""

    @property
    def tenant_id(self) -> str:
        """Id of the tenant that the user belongs to."""
        return self.user_id.partition("/")[0]


class TrafficError(OtelierError):
    """The service did not answer as it must."""


_TRIAGE, _BILLING = "/agents/triage/chat", "/agents/billing/chat"
_RESPOND, _STREAM = "/agents/billing/respond", "/agents/triage/stream"
_SUMMARY = "/summaries"

TOO_MUCH = "Export every invoice since 2019."
"""Message that the model's provider refuses with 429, however often it is sent."""

ORDER = "o-17"
"""The order that is refunded."""

USERS = (
    User(
        user_id="acme/alice",
        role="admin",
        asks=(
            Ask(path=_TRIAGE, message="I was charged twice in March."),
            Ask(path=_BILLING, message="When is my next invoice due?"),
            Ask(path=_STREAM, message="The dashboard is slow since this morning."),
            Ask(path=_TRIAGE, message="Please refund the second charge."),
            Ask(path=_RESPOND, message="Summarize my open invoices."),
            Ask(path=_SUMMARY, message="Charged twice in March, refunded, dashboard slow."),
        ),
    ),
    User(
        user_id="acme/bob",
        role="customer",
        asks=(
            Ask(path=_TRIAGE, message="I cannot log in any more."),
            Ask(path=_STREAM, message="The app crashed while I was uploading a file."),
            Ask(path=_TRIAGE, message="Is there a plan for larger teams?"),
            Ask(path=_BILLING, message="What would the larger plan cost?"),
        ),
    ),
    User(
        user_id="acme/carol",
        role="customer",
        asks=(
            Ask(path=_TRIAGE, message="My invoice shows the wrong address."),
            Ask(path=_RESPOND, message="Which address is on my last invoice?"),
            Ask(path=_STREAM, message="How do I change my password?"),
        ),
    ),
    User(
        user_id="globex/dana",
        role="admin",
        asks=(
            Ask(path=_TRIAGE, message="We want to pay by bank transfer."),
            Ask(path=_BILLING, message="Which account do we pay to?"),
            Ask(path=_RESPOND, message="Send me the invoice of April."),
            Ask(path=_TRIAGE, message="The export is broken."),
            Ask(path=_TRIAGE, message="Why did the bill go up?"),
            Ask(path=_SUMMARY, message="Pays by bank transfer, export broken, bill went up."),
        ),
    ),
    User(
        user_id="globex/erik",
        role="customer",
        asks=(
            Ask(path=_TRIAGE, message="Hello, who can help me?"),
            Ask(path=_BILLING, message=TOO_MUCH, status=503),
            Ask(path=_BILLING, message="Then only the invoices of this year."),
            Ask(path=_STREAM, message="Where do I see my usage?"),
        ),
    ),
)

REFUND = USERS[0], Ask(path=f"/orders/{ORDER}/refund", message="I was charged twice in March."), len(USERS[0].asks) + 1
"""Who asks for the refund, how, and as their how-many-th request."""


def drive(port: int, users: tuple[User, ...] = USERS, *, answered: Callable[[], object] = lambda: None) -> int:
    """Let all *users* ask at once, each one request after the other, and return how many requests that were.

    Args:
        port: Port of the service on 127.0.0.1.
        users: Who asks what.
        answered: Called after each answer, from several threads.

    Raises:
        TrafficError: if an answer has another status than expected, or does not come.
    """
    stopped = threading.Event()

    def ask_all(user: User) -> int:
        for number, ask in enumerate(user.asks, 1):
            if stopped.is_set():
                return 0
            send(port, user, ask, number)
            answered()
        return len(user.asks)

    with ThreadPoolExecutor(max_workers=len(users), thread_name_prefix="user") as pool:
        try:
            return sum(pool.map(ask_all, users))
        finally:
            stopped.set()  # after an error, or Ctrl-C, the others stop after the answer they wait for


def send(port: int, user: User, ask: Ask, number: int) -> None:
    """Send one request of a user, their *number*-th.

    Raises:
        TrafficError: if the answer has another status than expected, or does not come.
    """
    name = user.user_id.replace("/", "-")
    headers = {
        "content-type": "application/json",
        "x-user-id": user.user_id,
        "x-user-role": user.role,
        "x-session-id": f"{name}-morning",
        "x-tenant-id": user.tenant_id,
    }
    body = json.dumps({"message": ask.message, "ticket": f"{name}-{number}"})
    # The standard library's own client: no proxy between two processes of one machine.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", ask.path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        raise TrafficError(f"The service did not answer {ask.path} of {user.user_id}: {type(exc).__name__}.") from exc
    finally:
        connection.close()
    if answer.status != ask.status:
        raise TrafficError(
            f"The service answered {ask.path} of {user.user_id} with {answer.status} instead of {ask.status}: "
            f"{text[:200]}"
        )
