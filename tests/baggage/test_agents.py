"""What leaves with the requests that an agent's tools make, and with the question to its model."""

from __future__ import annotations

import openai
import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider

import otelier
from otelier.testing import OpenAIServer

pytest.importorskip("tests.baggage.world")

from tests.baggage.world import CLIENTS
from tests.security.agent_runs import KINDS, METADATA, NEVER, QUERY, SAID
from tests.security.places import WHO, found

CLIENT_NAMES = [name for name, client in CLIENTS.items() if not client.h2]
SENT = sorted(["user.id", "user.roles", "session.id", "otelier.workflow.id", "otelier.tenant.id", "gen_ai.agent.name"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CLIENT_NAMES)
def test_what_a_tools_requests_carry(here, name, kind):
    """Inside, the run's user, role, session, workflow, tenant and agent; outside nothing; never any more."""
    otelier.init(tracer_provider=TracerProvider(shutdown_on_exit=False))

    @otelier.tool
    def look(ctx: otelier.RunContext) -> str:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        for host in ("billing", "api.openai.com", "evil.example"):
            CLIENTS[name].send(here.url(host), headers=headers)
        return "looked"

    plain = openai.DefaultHttpxClient(verify=False)
    with (
        OpenAIServer() as model,
        openai.OpenAI(base_url=model.base_url, api_key="sk-none", http_client=plain) as client,
    ):
        below = otelier.Agent("refunds", "gpt-4.1", client=client, tools=[look])
        agent = otelier.Agent("billing", "gpt-4.1", client=client, subagents=[below])
        model.reply(tool_calls=[("refunds", {"task": SAID.all[2]})])
        model.reply(tool_calls=[("look", {})])
        agent.run(QUERY, context=KINDS[kind](metadata=METADATA)).wait()
        to_model = [dict(request.headers) for request in model.requests]

    assert [(got.host, sorted(got.ours)) for got in here.got] == [
        ("billing", SENT), ("api.openai.com", []), ("evil.example", [])
    ]  # fmt: skip
    assert "gen_ai.agent.name=refunds" in ",".join(here.got[0].baggage)
    assert found([*NEVER, *SAID.all], repr((here.got, to_model))) == []
    assert len(to_model) == 4
    assert not [headers for headers in to_model if "baggage" in headers]
    assert found(WHO, repr(to_model)) == []
