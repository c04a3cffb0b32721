"""A value for every field, and what spans and the baggage have of them."""

from __future__ import annotations

GIVEN = {
    "user_id": "u-1",
    "user_role": "admin",
    "agent": "triage",
    "agent_id": "a-1",
    "session_id": "s-1",
    "workflow_id": "w-1",
    "tenant_id": "t-1",
}
ATTRIBUTES = {
    "user.id": "u-1",
    "user.roles": ("admin",),
    "gen_ai.agent.name": "triage",
    "gen_ai.agent.id": "a-1",
    "otelier.agent.id": "a-1",
    "otelier.agent.source": "agent_id",
    "session.id": "s-1",
    "otelier.workflow.id": "w-1",
    "otelier.tenant.id": "t-1",
}
ENTRIES = {
    "user.id": "u-1",
    "user.roles": "admin",
    "gen_ai.agent.name": "triage",
    "gen_ai.agent.id": "a-1",
    "session.id": "s-1",
    "otelier.workflow.id": "w-1",
    "otelier.tenant.id": "t-1",
}
