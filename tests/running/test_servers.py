"""Web servers by the commands of the page: every worker sends everything, once, and each request has its own user."""

from __future__ import annotations

import contextlib
import http.client
import signal
from collections import Counter

import pytest

from tests.running.page import command, program
from tests.running.stage import calls_counted, eventually, needs_fork
from tests.serving import get_all

pytestmark = [pytest.mark.slow, needs_fork()]

FLASK_ROUTES = """
import logging, os
import openai
import otelier

client = openai.OpenAI()


@app.get("/who")
def who():
    return str(os.getpid())


@app.get("/ask/<user>")
def ask(user):
    if user != "nobody":
        otelier.set_context(user_id=user, agent="support")
    logging.getLogger("app").warning("asked")
    client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}])
    return str(os.getpid())
"""
USERS = [f"u-{number}" if number % 3 else "nobody" for number in range(30)]


def ask_all(port, *, workers):
    """Ask for every user until so many workers have answered; return how often each was asked for."""
    asked, pids = Counter(), set()

    def everybody():
        pids.update(get_all(port, [f"/ask/{user}" for user in USERS], at_once=6))
        asked.update(None if user == "nobody" else user for user in USERS)
        return len(pids) == workers

    eventually(everybody, f"{workers} workers to answer")
    return asked


def assert_all_arrived(receiver, server_span, asked):
    """Each request's span, model call and log record is there once, with its own user or none."""
    for name in (server_span, "chat gpt-4.1"):
        assert Counter(span.attributes.get("user.id") for span in receiver.spans if span.name == name) == asked
    logs = [entry for entry in receiver.logs if entry.scope == "app"]
    assert Counter(entry.attributes.get("user.id") for entry in logs) == asked
    assert calls_counted(receiver) == sum(asked.values())


NO_PROBES = {"using": "flask", "OTEL_PYTHON_FLASK_EXCLUDED_URLS": "who"}


@pytest.mark.parametrize("arguments", ["--preload", "--worker-class gthread"])
def test_gunicorn(stage, model, arguments):
    """Both workers send everything once, at the latest when gunicorn stops them; no request has another one's user."""
    stage.write("app.py", "from flask import Flask\n\napp = Flask(__name__)\n" + FLASK_ROUTES)
    with stage.served(command(arguments), workers=2, **NO_PROBES) as port:
        asked = ask_all(port, workers=2)
    assert_all_arrived(stage.receiver, "GET /ask/<user>", asked)


def test_gunicorn_with_gevent(stage, model):
    """The same where requests are greenlets, and the application switches on in each worker."""
    stage.write("app.py", program("FlaskInstrumentor") + FLASK_ROUTES)
    with stage.served(command("--worker-class gevent"), workers=2, **NO_PROBES) as port:
        asked = ask_all(port, workers=2)
    assert_all_arrived(stage.receiver, "GET /ask/<user>", asked)


ROUTES = """
import logging, os
import openai
from fastapi import Depends

client = openai.AsyncOpenAI()


def signed_in(user: str):
    if user != "nobody":
        otelier.set_context(user_id=user, agent="support")


@app.get("/who")
async def who() -> int:
    return os.getpid()


@app.get("/ask/{user}", dependencies=[Depends(signed_in)])
async def ask(user: str) -> int:
    logging.getLogger("app").warning("asked")
    await client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}])
    return os.getpid()
"""
FASTAPI = {"using": "fastapi", "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "who"}


def test_uvicorn_with_workers(stage, model):
    """Both workers send everything once; the `lifespan` of the page saves what the last batch held at SIGTERM."""
    stage.write("app.py", program("lifespan") + ROUTES)
    with stage.served(command("uvicorn --workers"), workers=2, **FASTAPI) as port:
        asked = ask_all(port, workers=2)
    assert_all_arrived(stage.receiver, "GET /ask/{user}", asked)


def test_uvicorn_that_reloads(stage, model):
    """After a reload the new process is instrumented, and what the old one held has arrived."""
    stage.write("app.py", program("lifespan") + ROUTES)
    with stage.served(command("uvicorn --reload"), **FASTAPI) as port:
        (first,) = get_all(port, ["/ask/alice"], at_once=1)
        stage.write("app.py", program("lifespan") + ROUTES + "\n# edited\n")
        eventually(lambda: answer(port, "/who") not in (None, first), "the reloaded process")
        (second,) = get_all(port, ["/ask/bob"], at_once=1)
    assert first != second
    users = Counter(span.attributes.get("user.id") for span in stage.receiver.spans if span.name == "chat gpt-4.1")
    assert users == {"alice": 1, "bob": 1}


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=lambda stop: stop.name)
def test_uvicorn_without_lifespan(stage, model, stop):
    """uvicorn ends by SIGTERM itself, so no exit handler runs: what waits is lost; after Ctrl-C it is not."""
    stage.write("app.py", "import otelier\nfrom fastapi import FastAPI\n\napp = FastAPI()\n" + ROUTES)
    with stage.served(command("uvicorn app:app"), stop=stop, **FASTAPI) as port:
        get_all(port, ["/ask/alice"], at_once=1)
    calls = [span for span in stage.receiver.spans if span.name == "chat gpt-4.1"]
    assert len(calls) == (0 if stop is signal.SIGTERM else 1)


def test_greenlets(stage):
    """A greenlet starts with nothing set; a function bound by `propagate` takes its fields along."""
    stage.write("app.py", program("gevent.spawn"))
    assert stage.run("python app.py").out == "[None, 'alice']\n"


def answer(port, path):
    """Return what *path* answers; `None` while nobody does."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return get_all(port, [path], at_once=1)[0]
    return None
