"""The table: six frameworks, what telemetry they have, and whose the spans of each place in a request are.

Each combination is served by its usual server under `opentelemetry-instrument`. On one connection that is kept open,
and on many at once, requests say whom they are for before the handler or in it; some say nothing.
"""

from __future__ import annotations

import shutil
import signal
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from tests.running.stage import Stage
from tests.serving import Client, get_all

PROGRAMS = Path(__file__).parent / "programs"
PLACES = ("hook", "handler", "stream", "background")
USERS = ("alice", "nobody", "bob", "nobody", "carol")
AT_ONCE = 40
UVICORN = "opentelemetry-instrument uvicorn --lifespan off --log-level warning {app}"
GUNICORN = "opentelemetry-instrument gunicorn --worker-class gthread --threads 1 --log-level warning {app}"
AIOHTTP = "opentelemetry-instrument python aiohttp_app.py $UVICORN_PORT"


@dataclass(frozen=True)
class Setup:
    """One framework with one telemetry."""

    framework: str
    telemetry: str
    """`own`, `contrib`, `alone`, which is none but otelier's middleware, or `both`: that around `contrib`."""
    styles: tuple[str, ...]
    """Ways to write a handler, the first part of its path."""
    command: str
    using: str
    """The instrumentation that is switched on, if any."""

    def __str__(self) -> str:
        return f"{self.framework}-{self.telemetry}"

    def loses(self, style: str, place: str) -> bool:
        """Tell whether the spans of *place* are nobody's: a body that is made after the request's span has ended."""
        return self.telemetry == "contrib" and style in ("plain", "async-plain") and place == "stream"


def _setups(framework: str, command: str, styles: tuple[str, ...], contrib: str, *, own: bool = False) -> list[Setup]:
    """Return all that *framework* has; `contrib` is the name of its instrumentation, empty where code applies it."""
    telemetries = ["own", "contrib", "alone"] if own else ["contrib", "both", "alone"]
    if framework == "aiohttp":
        telemetries.remove("both")  # its block is a middleware of its own kind, which stands inside
    return [
        Setup(framework, each, styles, command, "" if each in ("own", "alone") else contrib) for each in telemetries
    ]


BOTH = ("async", "threads")
SETUPS = [
    *_setups("fastapi", UVICORN.format(app="fastapi_app:app"), BOTH, "fastapi", own=True),
    *_setups("starlette", UVICORN.format(app="starlette_app:app"), BOTH, "starlette", own=True),
    *_setups("flask", GUNICORN.format(app="flask_app:app"), ("plain", "bound"), "flask"),
    *_setups("django wsgi", GUNICORN.format(app="django_app:wsgi"), ("plain", "bound"), "django"),
    *_setups("django asgi", UVICORN.format(app="django_app:asgi"), ("plain", "async-plain", "async-bound"), "django"),
    *_setups("aiohttp", AIOHTTP, ("async",), "aiohttp-server"),
    *_setups("litestar", UVICORN.format(app="litestar_app:app"), BOTH, "", own=True),
]


@dataclass
class Cell:
    """The spans of one place."""

    right: int = 0
    """Those with their own user, or none where the request has none."""
    without: int = 0
    """Those that have no user, but whose request has one by then."""
    wrong: int = 0
    """Those with another one's user."""

    def __str__(self) -> str:
        spans = self.right + self.without + self.wrong
        if self.wrong:
            return f"{self.wrong} of {spans} are another's"
        return f"{self.without} of {spans} are nobody's" if self.without else f"{spans} each its own"


Row = dict[str, Cell]


def ask(stage: Stage, setup: Setup) -> dict[tuple[str, str], Row]:
    """Serve *setup* and ask it; return a row for each style and place where the user is said."""
    for program in PROGRAMS.glob("*.py"):
        shutil.copy(program, stage.folder / program.name)
    given = {"TELEMETRY": setup.telemetry, "PYTHONPATH": str(stage.folder), "DJANGO_SETTINGS_MODULE": "django_settings"}
    asked = [(style, where) for style in setup.styles for where in PLACES[:2]]
    many = [f"u-{number}" if number % 3 else "nobody" for number in range(AT_ONCE)]
    with stage.served(setup.command, using=setup.using, stop=signal.SIGINT, **given) as port:
        for style, where in asked:
            with Client(port) as client:
                for user in USERS:
                    assert client.get(f"/{style}/{where}/{user}.{style}") == "ok"
            assert set(get_all(port, [f"/{style}/{where}/{user}.{style}" for user in many], at_once=10)) == {"ok"}
    spans = stage.receiver.spans
    return {key: _row(spans, *key) for key in asked}


def _row(spans: list[SimpleNamespace], style: str, where: str) -> Row:
    row: Row = defaultdict(Cell)
    for span in spans:
        asked = span.attributes.get("asked", "")
        if span.name not in PLACES or span.attributes["where"] != where or not asked.endswith(f".{style}"):
            continue
        known = PLACES.index(span.name) >= PLACES.index(where) and not asked.startswith("nobody")
        found, expected = span.attributes.get("user.id"), asked if known else None
        cell = row[span.name]
        if found == expected:
            cell.right += 1
        elif found is None:
            cell.without += 1
        else:
            cell.wrong += 1
    return row
