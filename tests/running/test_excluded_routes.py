"""Routes excluded from tracing have no span of the server, which would end what they set: the middleware does it."""

from __future__ import annotations

import signal

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
@app.get("/traced/<user>")
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


def users_of_work(stage, port, *prefixes):
    """Ask route by route, each on the thread of the one before."""
    for prefix in prefixes:
        get_all(port, [f"/{prefix}/{user}" for user in USERS], at_once=1)


def assert_users(stage, *expected, servers=0):
    """The spans inside the requests have these users, and so many requests had a span."""
    spans = sorted(stage.receiver.spans, key=lambda span: span.start_ns)
    assert [span.attributes.get("user.id") for span in spans if span.name == "work"] == list(expected)
    assert len([span for span in spans if span.kind == "SERVER" and "who" not in span.name]) == servers


def test_flask(stage):
    """With the middleware each request of an excluded route has its own user or none, and so has a traced one."""
    stage.write("app.py", program("app.wsgi_app") + FLASK_ROUTES)
    with stage.served(command("FLASK_EXCLUDED"), using="flask") as port:
        users_of_work(stage, port, "jobs", "traced")
    assert_users(stage, *["alice", None, "bob", None] * 2, servers=4)


def test_flask_without_the_middleware(stage):
    """Without it a value stays with the thread, and the next request of an excluded route has it."""
    stage.write("app.py", "import otelier\nfrom flask import Flask\n\napp = Flask(__name__)\n" + FLASK_ROUTES)
    with stage.served(command("FLASK_EXCLUDED"), using="flask") as port:
        users_of_work(stage, port, "jobs")
    assert_users(stage, "alice", "alice", "bob", "bob")


@pytest.mark.parametrize(
    ("interface", "start", "application", "stop"),
    [
        ("wsgi", "shop.wsgi", "get_wsgi_application", signal.SIGTERM),
        ("asgi", "shop.asgi", "get_asgi_application", signal.SIGINT),
    ],
    ids=["wsgi", "asgi"],
)
def test_django(stage, interface, start, application, stop):
    """With the middleware each request of an excluded route has its own user or none, and so has a traced one."""
    (stage.folder / "shop").mkdir()
    stage.write("shop/__init__.py", "")
    stage.write("shop/settings.py", DJANGO_SETTINGS)
    stage.write("shop/urls.py", DJANGO_URLS.replace("{def_}", "def" if interface == "wsgi" else "async def"))
    stage.write(f"shop/{interface}.py", program(application))
    with stage.served(command(start), stop=stop, using="django") as port:
        users_of_work(stage, port, "jobs", "traced")
    assert_users(stage, *["alice", None, "bob", None] * 2, servers=4)
