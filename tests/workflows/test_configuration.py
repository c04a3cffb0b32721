"""Secrets and configuration of a body: `ctx.secrets`, `ctx.config`, and the headers of requests."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

import otelier
from otelier.errors import SettingError
from otelier.redaction import redact
from otelier.workflows import RequestHeaders, Worker, function, workflow
from tests.workflows.asking import DEADLINE_S, address, in_two_lives, run

__all__ = ["address"]


@pytest.fixture(autouse=True)
def recorded(otelier_spans) -> Iterator[None]:
    """Everything is recorded, and no provider of flags is left."""
    yield
    api.clear_providers()


def flags(**values: Any) -> None:
    """Set a provider with flags, each with its variant's name and value."""
    api.set_provider(
        InMemoryProvider({key: InMemoryFlag(name, {name: value}) for key, (name, value) in values.items()})
    )


# --- secrets -----------------------------------------------------------------------------------------------------
@function
async def secret(ctx, key: str, default: str | None = None):
    found = ctx.secrets().get(key) if default is None else ctx.secrets().get(key, default=default)
    return [len(found), redact(f"it is {found}!")]


def test_the_environment_comes_before_the_folder(monkeypatch, tmp_path):
    """A variable of the key's name, then one in upper case, then a file; read anew each time."""
    monkeypatch.setenv("OTELIER_SECRETS_DIR", str(tmp_path))
    (tmp_path / "db-password").write_text("of the file\n", encoding="utf-8")
    assert run(secret, "db-password") == [11, "it is [REDACTED:secret]!"]
    monkeypatch.setenv("DB_PASSWORD", "of the variable")
    assert run(secret, "db-password") == [15, "it is [REDACTED:secret]!"]
    monkeypatch.setenv("db-password", "of its name")
    assert run(secret, "db-password") == [11, "it is [REDACTED:secret]!"]


@pytest.mark.parametrize("key", ["absent", "../outside", "/etc/hostname"])
def test_a_secret_that_is_not_there(monkeypatch, tmp_path, key):
    """No file but one in the folder is read; without a default the error says what to set."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_text("canary", encoding="utf-8")
    monkeypatch.setenv("OTELIER_SECRETS_DIR", str(folder))
    with pytest.raises(Exception, match=r"There is no secret .*OTELIER_SECRETS_DIR"):
        run(secret, key)
    assert run(secret, key, "none of it") == [10, "it is none of it!"]
    assert issubclass(SettingError, ValueError)


def test_a_secret_is_in_no_signal_and_no_journal(otelier_spans, monkeypatch, tmp_path):
    """Once read it is masked in spans, log records and metrics, whoever writes it, also as JSON and in a URL."""
    monkeypatch.setenv("TOKEN", 'canary "and" more')
    tracer = otelier_spans.tracer_provider.get_tracer("tests")

    @function
    async def body(ctx):
        token = ctx.secrets().get("token")
        logging.getLogger("elsewhere").warning("with %s", token, extra={"given": token})
        ctx.log().warning("with %s", token)
        ctx.metrics().increment("calls", token=token)
        with ctx.trace_span().start("ours", token_given=token):
            pass
        with tracer.start_as_current_span(f"theirs {token}") as span:
            span.set_attribute("list", ["a", f"x {token}"])
            span.add_event("happened", {"what": "canary%20%22and%22%20more"})
            span.set_status(otelier_status(), 'said "canary \\"and\\" more"')
        return len(token)

    address = f"file:{tmp_path / 'runs.db'}"
    assert run(body, address=address) == 17
    spans = [(one.name, one.attributes, one.status_message, one.events) for one in otelier_spans.records]
    logs = [(entry.body, dict(entry.attributes)) for entry in otelier_spans.logs]
    for told in (spans, logs, otelier_spans.metrics()):
        assert "canary" not in repr(told)
        assert "[REDACTED:secret]" in repr(told)
    assert all(b"canary" not in path.read_bytes() for path in tmp_path.glob("runs.db*"))


def otelier_status() -> Any:
    from opentelemetry.trace import StatusCode

    return StatusCode.ERROR


def test_a_short_secret_is_not_masked(monkeypatch, caplog):
    """One of three characters would stand in too many words, so it warns instead."""
    monkeypatch.setenv("PIN", "abc")
    assert run(secret, "pin") == [3, "it is abc!"]
    assert "less than 4 characters" in caplog.text


# --- flags -------------------------------------------------------------------------------------------------------
def test_a_flag_keeps_its_value_in_a_run(address, otelier_spans):
    """What a body read is recorded: a flag that changes while it waits changes nothing in it, and is reported once."""

    @workflow
    async def body(ctx):
        found = [ctx.config().get("new", default=False), ctx.config().variant("group")]
        await ctx.signal("go")
        return [*found, ctx.config().get("new", default=False), ctx.config().variant("group")]

    flags(new=("on", True), group=("treatment", "t"))
    changed = {"new": ("off", False), "group": ("control", "c")}
    assert in_two_lives(body, address=address, between=lambda: flags(**changed)) == [
        True,
        "treatment",
        False,
        "control",
    ]
    events = [entry for entry in otelier_spans.logs if entry.event_name == "feature_flag.evaluation"]
    assert [entry.attributes["feature_flag.result.variant"] for entry in events] == ["treatment", "control"]


@pytest.mark.parametrize(
    ("value", "default"),
    [(True, False), ("text", "other"), (3, 1), (2.5, 1.0), ({"a": 1}, {}), ([1], []), (True, None), ("x", None)],
)
def test_a_value_has_the_type_of_the_default(value, default):
    """Flags of every type, and of any where the default is `None`; another type gives the default."""

    @function
    async def body(ctx):
        return ctx.config().get("key", default=default)

    flags(key=("on", value))
    assert run(body) == value
    flags(key=("on", object()))
    assert run(body) == default


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("true", False, True), ("off", True, False), ("7", 1, 7), ("0.5", 1.0, 0.5), ("text", "", "text"),
        ('{"a": 1}', {}, {"a": 1}), ("[1]", {}, {}), ("maybe", True, True), ("x", 1, 1), ("any", None, "any"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("installed", [True, False])
def test_a_variable_where_no_flag_is(monkeypatch, text, default, expected, installed):
    """Without a provider, and without the extra, `OTELIER_CONFIG_{KEY}` is read as the default's type."""
    if not installed:
        monkeypatch.setitem(sys.modules, "openfeature", None)
    monkeypatch.setenv("OTELIER_CONFIG_NEW_KEY", text)

    @function
    async def body(ctx):
        return ctx.config().get("new-key", default=default)

    assert run(body) == expected


def test_a_variant_is_an_evaluation(otelier_spans):
    """The event names flag, variant, reason, provider and the user, and never the value."""

    @function
    async def body(ctx):
        async def work() -> str:
            return ctx.config().variant("group", default="control")

        return [ctx.config().variant("group", default="control"), await ctx.step("work", work)]

    flags(group=("treatment", "canary"))
    with otelier.context(user_id="u-1"):
        assert run(body) == ["treatment", "treatment"]
    api.clear_providers()
    assert run(body, workflow_id="run-of-variants") == ["control", "control"]
    events = [entry.attributes for entry in otelier_spans.logs if entry.event_name == "feature_flag.evaluation"]
    assert [
        (event["feature_flag.key"], event["feature_flag.result.variant"], event["feature_flag.result.reason"],
         event["feature_flag.provider.name"], event["feature_flag.context.id"])
        for event in events
    ] == [("group", "treatment", "static", "In-Memory Provider", "u-1")] * 2 + [
        ("group", "control", "default", "otelier", "run-of-variants")
    ] * 2  # fmt: skip
    assert "canary" not in repr(events)


def test_cron_without_the_extra(monkeypatch):
    """A cron line without croniter raises an error that names the install line."""
    monkeypatch.setitem(sys.modules, "croniter", None)

    @function
    async def body(ctx):
        await ctx.timer(cron="0 0 * * *")

    with pytest.raises(Exception, match=r"pip install 'otelier\[workflows\]'"):
        run(body)


# --- headers -----------------------------------------------------------------------------------------------------
def test_a_request_gives_its_headers_to_runs(address):
    """Several of one name are one; what authorises, secrets, baggage and what is too much are dropped."""

    @function
    async def body(ctx):
        headers = ctx.headers()
        return {name: headers[name] for name in headers}

    raw = [
        (b"X-One", b"1"), (b"x-one", b"2"), (b"User-Agent", "\xe4".encode("latin-1")), (b"Cookie", b"a=canary"),
        (b"X-Api-Key", b"canary"), (b"X-Token", b"sk-proj-canary00000000000000"), (b"baggage", b"a=b"),
        (b"traceparent", b"x"), (b"X-Long", b"x" * 9_000), (b"X-Last", b"3"),
    ]  # fmt: skip

    async def main() -> list[Any]:
        async with Worker("tests", modules=[body], engine=address) as worker:
            found: list[Any] = []

            async def app(scope: Any, receive: Any, send: Any) -> None:
                for headers in (None, {"X-Own": "1"}):
                    handle = await worker.start(body, headers=headers)
                    found.append(await handle.result(timeout_s=DEADLINE_S))

            served = RequestHeaders(app)
            await served({"type": "http", "headers": raw}, None, None)
            await served({"type": "lifespan"}, None, None)
            found.append(await (await worker.start(body)).result(timeout_s=DEADLINE_S))
            return found

    first, own, of_lifespan, _, outside = asyncio.run(main())
    assert first == {"x-one": "1, 2", "user-agent": "\xe4", "x-last": "3"}
    assert (own, of_lifespan, outside) == ({"x-own": "1"}, {}, {})
