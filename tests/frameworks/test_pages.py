"""The pages of `docs/frameworks`: their programs, served by their commands, make the traces that they show."""

from __future__ import annotations

import http.client
import re
import signal
from pathlib import Path

import pytest

from otelier.testing import trace_tree
from tests.running.stage import needs_fork

pytestmark = [pytest.mark.slow, needs_fork()]

PAGES = Path(__file__).parent.parent.parent / "docs" / "frameworks"
MESSAGES = (" http receive", " http send")
"""How the spans that the pages leave out end."""
WHO = {
    "fastapi": "import os\n\n\n@app.get('/who')\ndef who():\n    return os.getpid()\n",
    "starlette": """
import os
from starlette.responses import PlainTextResponse
app.router.routes.append(Route("/who", lambda request: PlainTextResponse(str(os.getpid()))))
""",
    "litestar": """
import os


@get("/who", sync_to_thread=False)
def who() -> int:
    return os.getpid()


app.register(who)
""",
    "flask": "import os\n\n\n@app.get('/who')\ndef who():\n    return str(os.getpid())\n",
    "django": """
import os
from django.http import HttpResponse


def who(request):
    return HttpResponse(str(os.getpid()))
""",
    "aiohttp": """
import os


async def who(request):
    return web.Response(text=str(os.getpid()))


app.add_routes([web.get("/who", who)])
""",
}
"""How each application tells which process serves it: the stage asks."""
CHANGES = {
    ("fastapi", "alone"): (
        "app = FastAPI()",
        "app = FastAPI(telemetry={'tracing': False})\napp.add_middleware(otelier.ContextMiddleware)",
    ),
    ("starlette", "own"): (
        "middleware=[",
        "middleware=[Middleware(OpenTelemetryMiddleware), ",
    ),
    ("starlette", "alone"): ("middleware=[", "middleware=[Middleware(otelier.ContextMiddleware), "),
    ("litestar", "alone"): (", plugins=[OpenTelemetryPlugin(OpenTelemetryConfig())]", ""),
    ("aiohttp", "alone"): ("middlewares=[", "middlewares=[per_request, "),
}
"""What of the program differs from the page's first one, as the page says it."""
LAST = {
    ("litestar", "alone"): "app = otelier.ContextMiddleware(app)\n",
    ("flask", "alone"): "app.wsgi_app = otelier.ContextMiddleware(app.wsgi_app)\n",
}
DJANGO = {
    "settings.py": """
SECRET_KEY = "for a test"
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]
MIDDLEWARE = ["shop.views.identify"]
""",
    "urls.py": """
from django.urls import path
from shop import views

urlpatterns = [path("ask", views.ask), path("who", views.who)]
""",
    "wsgi.py": """
import otelier
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
""",
}
USING = {"aiohttp": "aiohttp-server", "litestar": ""}


def blocks(page, language):
    """The blocks of *page* in *language*, which may have a word after it."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shown():
    """Every trace of every page, by page and telemetry."""
    for path in sorted(PAGES.glob("*.md")):
        for telemetry in re.findall(r"^```text (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield path.stem, telemetry


def program(page, telemetry):
    """The program of *page*, with what the page says of *telemetry*."""
    first, *more = blocks(page, "py")
    first += WHO[page]
    if (page, telemetry) in CHANGES:
        old, new = CHANGES[page, telemetry]
        assert first.count(old) == 1, old
        first = first.replace(old, new)
    if "OpenTelemetryMiddleware)" in first:
        first = "from starlette.middleware.opentelemetry import OpenTelemetryMiddleware\n" + first
    # What the page adds later is defined before the application that names it.
    before, separator, after = first.partition("app = web.Application")
    return "\n\n".join([before, *more, separator + after]) + LAST.get((page, telemetry), "")


def ask(port):
    """Ask as a user."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/ask?question=Hello", headers={"x-user": "alice"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text


@pytest.mark.parametrize(("page", "telemetry"), list(shown()), ids=lambda value: value)
def test_the_page_shows_the_trace(stage, model, page, telemetry):
    """Served and asked once, the page's program makes the trace of the page, each span with its user."""
    (command,) = [block for block in blocks(page, "shell") if "opentelemetry-instrument " in block]
    if page == "django":
        (stage.folder / "shop").mkdir()
        for name, text in DJANGO.items():
            stage.write(f"shop/{name}", text)
        stage.write("shop/__init__.py", "")
        stage.write("shop/views.py", program(page, telemetry))
        if telemetry == "alone":
            stage.write("shop/wsgi.py", DJANGO["wsgi.py"] + "application = otelier.ContextMiddleware(application)\n")
    else:
        stage.write("app.py", program(page, telemetry))
    using = USING.get(page, page) if telemetry == "contrib" else ""
    with stage.served(command, using=using, stop=signal.SIGINT) as port:
        ask(port)
    (trace,) = blocks(page, f"text {telemetry}")
    spans = stage.receiver.spans
    others = {span.trace_id for span in spans if "who" in span.name}
    mine = [span for span in spans if span.trace_id not in others and not span.name.endswith(MESSAGES)]
    assert trace_tree(mine, "user.id") == trace.rstrip()


def test_every_page_shows_all_that_there_is():
    """Each of the six frameworks has a page with a program, a command, and a trace for each telemetry it can have."""
    found: dict[str, list[str]] = {}
    for page, telemetry in shown():
        found.setdefault(page, []).append(telemetry)
    assert found == {
        "aiohttp": ["contrib", "alone"],
        "django": ["contrib", "alone"],
        "fastapi": ["own", "contrib", "alone"],
        "flask": ["contrib", "alone"],
        "litestar": ["own", "alone"],
        "starlette": ["contrib", "own", "alone"],
    }
