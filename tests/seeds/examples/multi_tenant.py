"""egisai, multi-agent context: multi-tenant SaaS. `request` is the reader's framework's."""

from types import SimpleNamespace

import openai

import otelier

otelier.init(app="orchestrator", env="production")
client = openai.OpenAI()


def handle(request):
    otelier.set_context(
        agent="customer-support-bot",
        user_id=request.user.id,
        session_id=request.session_id,
    )
    return client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": request.text}])


def a_request(user: str, session: str):
    return SimpleNamespace(user=SimpleNamespace(id=user), session_id=session, text="Where is my order?")
