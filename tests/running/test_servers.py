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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), needs_fork()]

FLASK = """
import logging, os
import openai
from flask import Flask
import otelier

app = Flask(__name__)
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


def ask_all(port):
    """Ask for every user; return the pids that answered."""
    return set(map(str, get_all(port, [f"/ask/{user}" for user in USERS], at_once=6)))


def assert_all_arrived(receiver, server_span):
    """Each request's span, model call and log record is there once, with its own user or none."""
    expected = Counter(None if user == "nobody" else user for user in USERS)
    for name in (server_span, "chat gpt-4.1"):
        assert Counter(span.attributes.get("user.id") for span in receiver.spans if span.name == name) == expected
    logs = [entry for entry in receiver.logs if entry.scope == "app"]
    assert Counter(entry.attributes.get("user.id") for entry in logs) == expected
    assert calls_counted(receiver) == len(USERS)


@pytest.mark.parametrize("arguments", ["--preload", "--worker-class gthread", "--worker-class gevent"])
def test_gunicorn(stage, model, arguments):
    """Both workers send everything once, at the latest when gunicorn stops them; no request has another one's user."""
    stage.write("app.py", FLASK)
    with stage.served(command(arguments), workers=2, using="flask", OTEL_PYTHON_FLASK_EXCLUDED_URLS="who") as port:
        pids = ask_all(port)
    assert len(pids) == 2
    assert_all_arrived(stage.receiver, "GET /ask/<user>")


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
        pids = ask_all(port)
    assert len(pids) == 2
    assert_all_arrived(stage.receiver, "GET /ask/{user}")


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
