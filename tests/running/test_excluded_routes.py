"""Routes excluded from tracing have no span of the server, which would end what they set: the middleware does it."""

from __future__ import annotations

import pytest

from tests.running.page import command, program
from tests.running.stage import needs_fork
from tests.serving import get_all

pytestmark = [pytest.mark.slow, needs_fork()]

FLASK_ROUTES = """
import os
from opentelemetry import trace


@app.get("/who")
def who():
    return str(os.getpid())


@app.get("/jobs/<user>")
def job(user):
    if user != "nobody":
        otelier.set_context(user_id=user)
    with trace.get_tracer("jobs").start_as_current_span("work"):
        return "done"
"""
DJANGO_SETTINGS = """
SECRET_KEY = "for a test"
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]
MIDDLEWARE = []
"""
DJANGO_URLS = """
import os
from django.http import HttpResponse
from django.urls import path
from opentelemetry import trace
import otelier


def who(request):
    return HttpResponse(str(os.getpid()))


{def_} job(request, user):
    if user != "nobody":
        otelier.set_context(user_id=user)
    with trace.get_tracer("jobs").start_as_current_span("work"):
        return HttpResponse("done")


urlpatterns = [path("who", who), path("jobs/<str:user>", job), path("traced/<str:user>", job)]
"""
USERS = ["alice", "nobody", "bob", "nobody"]


def users_of_jobs(stage, port, prefix="/jobs"):
    """Ask one after the other, each on the thread of the one before; return the users of their spans."""
    get_all(port, [f"{prefix}/{user}" for user in USERS], at_once=1)


def assert_kept_apart(stage):
    assert [span.attributes.get("user.id") for span in work(stage)] == ["alice", None, "bob", None]
    assert [span for span in stage.receiver.spans if span.kind == "SERVER" and "job" in span.name] == []


def work(stage):
    return sorted((span for span in stage.receiver.spans if span.name == "work"), key=lambda span: span.start_ns)


def test_flask(stage):
    """With the middleware each request of an excluded route has its own user or none."""
    stage.write("app.py", "import otelier\n" + program("app.wsgi_app") + FLASK_ROUTES)
    with stage.served(command("FLASK_EXCLUDED"), using="flask") as port:
        users_of_jobs(stage, port)
    assert_kept_apart(stage)


def test_flask_without_the_middleware(stage):
    """Without it a value stays with the thread, and the next request of an excluded route has it."""
    stage.write("app.py", "import otelier\nfrom flask import Flask\n\napp = Flask(__name__)\n" + FLASK_ROUTES)
    with stage.served(command("FLASK_EXCLUDED"), using="flask") as port:
        users_of_jobs(stage, port)
    assert [span.attributes.get("user.id") for span in work(stage)] == ["alice", "alice", "bob", "bob"]


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_django(stage, interface):
    """With the middleware each request of an excluded route has its own user or none, and so has a traced one."""
    (stage.folder / "shop").mkdir()
    stage.write("shop/__init__.py", "")
    stage.write("shop/settings.py", DJANGO_SETTINGS)
    stage.write("shop/urls.py", DJANGO_URLS.replace("{def_}", "def" if interface == "wsgi" else "async def"))
    stage.write(f"shop/{interface}.py", program(f"get_{interface}_application"))
    with stage.served(command(f"shop.{interface}"), using="django") as port:
        users_of_jobs(stage, port)
    print(work(stage))
    print([(s.name,s.kind) for s in stage.receiver.spans])
    assert_kept_apart(stage)
