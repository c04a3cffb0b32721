"""The fields as these tests set them, and as they are written."""

from __future__ import annotations

import otelier

ALLOWED = "*.partner.example"
"""What the application names as inside."""
GIVEN = {
    "user_id": "alice@example.com",
    "user_role": "admin, chief",
    "agent": "triage",
    "agent_id": "a-1",
    "session_id": "s 1",
    "workflow_id": "wörk",
    "tenant_id": "acme/eu",
}
WRITTEN = (
    "user.id=alice%40example.com,user.roles=admin%2C%20chief,gen_ai.agent.name=triage,gen_ai.agent.id=a-1,"
    "session.id=s%201,otelier.workflow.id=w%C3%B6rk,otelier.tenant.id=acme%2Feu"
)


def activate() -> None:
    otelier.init(propagate_to=[ALLOWED])
