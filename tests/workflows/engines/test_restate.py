"""The engine on Restate alone: addresses, registration, versions, what its server is asked and says."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest

from otelier.errors import EngineError, MissingExtraError, RunEndedError, UnknownHandlerError, UnknownRunError
from otelier.workflows.engines import open_engine
from otelier.workflows.engines.protocol import Run, Target
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, raises_sentence, serving, step, until
from tests.workflows.restating import RestateServer, free_port

pytest.importorskip("restate", reason="the extra `restate` is not installed")

from otelier.workflows.engines.restate import Options, RestateEngine
from otelier.workflows.engines.restate import _http as http
from otelier.workflows.engines.restate._address import parse_address, worker_address
from otelier.workflows.engines.restate._answers import unknown_run
from otelier.workflows.engines.restate._names import handler_name, service_name
from otelier.workflows.engines.restate._server import Server


@asynccontextmanager
async def answering(answers: dict[str, tuple[int, Any]]) -> AsyncIterator[int]:
    """Answer requests by their paths, as a server of another kind would; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode()
        status, body = answers.get(path, (404, {"message": "not here"}))
        text = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(text), text))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


# --- addresses -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("restate://localhost", "restate://localhost:8080?admin=9070"),
        ("restate://db.internal:18080", "restate://db.internal:18080?admin=9070"),
        ("restate://127.0.0.1:1?admin=2", "restate://127.0.0.1:1?admin=2"),
        ("restate://[::1]:81/?admin=82", "restate://[::1]:81?admin=82"),
    ],
)
def test_an_address_names_host_and_ports(text: str, shown: str):
    """Ports of ingress and admin side are those that Restate has unless told."""
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "restate:", "restate://", "restate:localhost", "restate://h:0", "restate://h:99999", "restate://h:x",
        "restate://h?admin=x", "restate://h?other=1", "restate://h/path", "restate://u:p@h", "restate://h?admin",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str):
    """The sentence shows the form."""
    with raises_sentence(EngineError, "no address of a Restate server", "restate://localhost"):
        open_engine(text)


def test_a_client_does_not_load_the_sdk():
    """It takes a second to load, and serves workers only."""
    code = "from otelier import Client; import sys; Client('restate://localhost'); print('restate' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_one_engine_per_address():
    """A process shares the engine of an address, however it is written, until it is closed."""
    engine = open_engine("restate://localhost")
    assert open_engine("restate://localhost:8080?admin=9070") is engine
    asyncio.run(engine.close())
    assert open_engine("restate://localhost") is not engine


def test_without_the_extra_the_install_line_is_told():
    """Opening a Restate address names the extra where it is not installed."""
    with (
        patch.dict(sys.modules, {"hypercorn": None}),
        raises_sentence(MissingExtraError, "hypercorn", 'pip install "otelier[restate]"'),
    ):
        open_engine("restate://localhost")


def test_a_worker_listens_on_this_machine_unless_told(monkeypatch: pytest.MonkeyPatch):
    """By default only this machine reaches a worker; a public address needs a key and, where it is all, a URL."""
    assert worker_address().host == "127.0.0.1"
    monkeypatch.setenv("OTELIER_WORKER_BIND", "0.0.0.0:9080")
    with raises_sentence(EngineError, "0.0.0.0:9080", "OTELIER_RESTATE_IDENTITY_KEY"):
        worker_address()
    monkeypatch.setenv("OTELIER_RESTATE_IDENTITY_KEY", "publickeyv1_a, publickeyv1_b")
    with raises_sentence(EngineError, "OTELIER_WORKER_URL"):
        worker_address()
    monkeypatch.setenv("OTELIER_WORKER_URL", "http://10.0.0.5:9080/")
    found = worker_address()
    assert (found.url, found.identity_keys) == ("http://10.0.0.5:9080", ("publickeyv1_a", "publickeyv1_b"))
    for wrong in ("nowhere", "host:port", "host:70000", ":80"):
        with raises_sentence(EngineError, "HOST:PORT"):
            worker_address(wrong)
    with raises_sentence(EngineError, "no URL"):
        worker_address(url="10.0.0.5:9080")


def test_names_of_two_handlers_never_become_one():
    """What the server does not allow in names is written by its number; an entity's type is an object of its own."""
    assert service_name("shop", "Cart.add", is_entity=True) == "shop.Cart"
    assert handler_name("Cart.add", is_entity=True) == "add"
    names = ["a-b", "a_b", "a_2d_b", "a b", "ä", "_a", "9", "a.b"]
    for is_service in (True, False):
        made = {
            service_name(name, "x", is_entity=False) if is_service else handler_name(name, is_entity=False)
            for name in names
        }
        assert len(made) == len(names)
        assert all(one.isascii() and one[0].isalpha() for one in made)


# --- servers that are not there, or others -------------------------------------------------------------------------
@on_a_loop
async def test_without_a_server_the_error_says_how_to_start_one():
    """Nobody listens there: the address and the command are told at once."""
    engine = RestateEngine(f"restate://127.0.0.1:{free_port()}?admin={free_port()}", bind="127.0.0.1:0")
    with raises_sentence(EngineError, str(engine.address), "npx @restatedev/restate-server"):
        await engine.runs()
    with raises_sentence(EngineError, "npx @restatedev/restate-server"):
        await engine.serve(Handlers().registry, Handlers().invoke)


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ((200, {"version": "1.6.3"}), ("1.6.3", "1.7.12", "signal")),
        ((200, {"name": "other"}), ("no Restate server's admin side",)),
        ((404, {"message": "not here"}), ("no Restate server's admin side", "404")),
    ],
)
@on_a_loop
async def test_an_old_or_another_server_is_refused(answer: tuple[int, Any], parts: tuple[str, ...]):
    """A server that loses signals, or is none, is told by its version or answer."""
    async with answering({"/version": answer}) as port:
        engine = RestateEngine(f"restate://127.0.0.1:{free_port()}?admin={port}")
        with raises_sentence(EngineError, *parts):
            await engine.runs()


@on_a_loop
async def test_a_broken_answer_is_a_lost_connection():
    """A server that ends in the midst of an answer is one that does not answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\nabc")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="broke"):
            await http.request("127.0.0.1", server.sockets[0].getsockname()[1], "GET", "/")


@on_a_loop
async def test_a_server_that_starts_is_asked_again_for_its_runs():
    """A server that does not know yet who has its partitions fails queries for a while: a client waits for it."""

    class Starting(dict[str, tuple[int, Any]]):
        asked = 0

        def get(self, path: str, default: Any = None) -> Any:
            self.asked += path == "/query"
            return self[path] if path != "/query" or self.asked > 1 else (500, {"message": words})

    words = "Datafusion error: External error: node lookup for partition 0 failed"
    answers = Starting({"/version": (200, {"version": "1.7.12"}), "/query": (200, {"rows": []})})
    async with answering(answers) as port:
        engine = RestateEngine(f"restate://127.0.0.1:{free_port()}?admin={port}", options=Options(again_s=0.5))
        assert await engine.runs() == []
        before = answers.asked
        assert before > 1
        with pytest.raises(UnknownRunError):
            await engine.run("r")
    assert (
        answers.asked > before + 3
    )  # it tells of one partition after the other, so what it does not know is asked for again


@on_a_loop
async def test_a_server_that_hangs_is_told():
    """Whoever takes requests and says nothing is told, at either port, after a while and not never."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        hangs = server.sockets[0].getsockname()[1]
        async with answering({"/version": (200, {"version": "1.7.12"})}) as answers:
            for address in (
                f"restate://127.0.0.1:{answers}?admin={hangs}",
                f"restate://127.0.0.1:{hangs}?admin={answers}",
            ):
                engine = RestateEngine(address, options=Options(again_s=0.2))
                with raises_sentence(EngineError, f"at port {hangs}", "says nothing"):
                    await engine.signal("r", "go", None)


@on_a_loop
async def test_a_server_that_takes_its_time_is_waited_for():
    """An answer may come late, as a run's result does, from a server that is well."""
    asked = list[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1]
        asked.append(path)
        if path == b"/query":
            await until(lambda: asked.count(b"/health") > 1)
        text = {b"/version": b'{"version": "1.7.12"}', b"/query": b'{"rows": []}'}.get(path, b"")
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = RestateEngine(f"restate://127.0.0.1:{free_port()}?admin={port}", options=Options(again_s=0.05))
        assert await engine.runs() == []


@on_a_loop
async def test_a_port_that_is_taken_is_told():
    """A worker that cannot listen names the variable."""
    async with answering({"/version": (200, {"version": "1.7.12"})}) as port:
        engine = RestateEngine(f"restate://127.0.0.1:{free_port()}?admin={port}", bind=f"127.0.0.1:{port}")
        with raises_sentence(EngineError, str(port), "OTELIER_WORKER_BIND"):
            await engine.serve(Handlers().registry, Handlers().invoke)


# --- on a server ---------------------------------------------------------------------------------------------------
async def _echo(run: Run, payload: Any) -> Any:
    return [run.version, await run.signal("go", None), run.version]


@pytest.mark.restate
@on_a_loop
async def test_old_runs_go_on_with_new_code(restate: RestateServer):
    """A worker answers the paths of lower versions: open runs keep theirs, new ones get the new one."""
    old, new = Handlers(), Handlers(version=3)
    target = old.add(_echo)
    new.add(_echo)
    async with opened(restate.address) as engine:
        async with serving(engine, old):
            assert [url.rpartition("/")[2] for url in engine.registered] == ["v1"]
            await engine.start(target, None, {}, run_id="old")
            await until(lambda: old.lives)
        async with serving(engine, new):
            assert engine.is_driving()
            await engine.start(target, None, {}, run_id="new")
            for run_id, version in (("old", 1), ("new", 3)):
                await engine.signal(run_id, "go", run_id)
                assert await engine.result(run_id, 60) == [True, [version, run_id, version]]
                assert (await engine.run(run_id)).version == version
    assert "old" in new.lives


@pytest.mark.restate
@on_a_loop
async def test_a_server_that_starts_has_cancelled_nothing(restate: RestateServer, monkeypatch: pytest.MonkeyPatch):
    """What it does not know yet of a run it is asked again: only a run that was cancelled is told to be that."""
    handlers = Handlers()
    target = handlers.add(_echo)
    async with opened(restate.address) as engine, serving(engine, handlers):
        attach, asked = engine._server.attach, list[str]()

        async def attached(invocation: str, run_id: str) -> Any:
            asked.append(run_id)
            if len(asked) == 1:
                raise unknown_run(run_id)
            return await attach(invocation, run_id)

        monkeypatch.setattr(engine._server, "attach", attached)
        await engine.start(target, None, {}, run_id="r-1")
        await engine.signal("r-1", "go", "now")
        assert await engine.result("r-1", 60) == [True, [1, "now", 1]]
    assert len(asked) == 2


@pytest.mark.restate
@on_a_loop
async def test_a_connection_that_stays_open_is_closed_without_a_word(restate: RestateServer):
    """A balancer keeps connections to a worker; when that stops, nothing is logged as an error."""
    handlers, said = Handlers(), list[Any]()
    handlers.add(_echo)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    async with opened(restate.address) as engine:
        async with serving(engine, handlers):
            port = int(engine.registered[0].split(":")[2].split("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert await reader.read(9)
        await reader.read()
        writer.close()
    assert said == []


@pytest.mark.restate
@on_a_loop
async def test_a_path_of_a_higher_version_is_not_answered(restate: RestateServer):
    """Old code does not run what new code began."""
    handlers = Handlers()
    handlers.add(_echo)
    async with opened(restate.address) as engine, serving(engine, handlers):
        base, port = engine.registered[0].rpartition("/")[0], int(engine.registered[0].split(":")[2].split("/")[0])
        accept = {"accept": "application/vnd.restate.endpointmanifest.v4+json"}
        for path, status in (("/v1/health", 200), ("/v1/discover", 200), ("/v2/discover", 404), ("/discover", 404)):
            answer = await http.request("127.0.0.1", port, "GET", path, None, accept)
            assert answer.status == status, path
        with raises_sentence(EngineError, f"{base}/v2", "OTELIER_WORKER_URL"):
            await engine._deployments.register(f"{base}/v2")


@pytest.mark.restate
@on_a_loop
async def test_a_worker_that_the_server_cannot_reach_is_told_so(restate: RestateServer):
    """A failed registration has the URL, the server's own words and the variables, and ends the worker."""
    port = free_port()
    engine = RestateEngine(restate.address, bind="127.0.0.1:0", url=f"http://127.0.0.1:{port}")
    handlers = Handlers()
    handlers.add(_echo)
    with raises_sentence(EngineError, f"http://127.0.0.1:{port}/v1", "OTELIER_WORKER_BIND", "OTELIER_WORKER_URL"):
        await engine.serve(handlers.registry, handlers.invoke)


@pytest.mark.restate
@on_a_loop
async def test_requests_that_are_not_signed_are_refused(restate: RestateServer, monkeypatch: pytest.MonkeyPatch):
    """With a key a worker takes no request of a server that does not sign with it; a key that is none is told."""
    handlers = Handlers()
    handlers.add(_echo)
    monkeypatch.setenv("OTELIER_RESTATE_IDENTITY_KEY", "none")
    with raises_sentence(EngineError, "publickeyv1_"):
        await RestateEngine(restate.address, bind="127.0.0.1:0").serve(handlers.registry, handlers.invoke)
    monkeypatch.setenv("OTELIER_RESTATE_IDENTITY_KEY", f"publickeyv1_{_base58(b'k' * 32)}")
    with raises_sentence(EngineError, "OTELIER_RESTATE_IDENTITY_KEY", "401"):
        await RestateEngine(restate.address, bind="127.0.0.1:0").serve(handlers.registry, handlers.invoke)


def _base58(data: bytes) -> str:
    letters, number, found = (
        "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
        int.from_bytes(data, "big"),
        "",
    )
    while number:
        number, rest = divmod(number, 58)
        found = letters[rest] + found
    return found


@pytest.mark.restate
@on_a_loop
async def test_what_nobody_has_is_refused_at_the_start(restate: RestateServer):
    """The server keeps nothing for a handler that no worker registered, and none at all without a worker."""
    handlers = Handlers()
    handlers.add(_echo, name="echo")
    async with opened(restate.address) as engine:
        with raises_sentence(EngineError, "No worker is registered", "otelier worker"):
            await engine.start(Target("shop", "echo"), None, {}, run_id="r")
        async with serving(engine, handlers):
            with raises_sentence(UnknownHandlerError, "shop/none", "shop/echo"):
                await engine.start(Target("shop", "none"), None, {}, run_id="r")


@pytest.mark.restate
@on_a_loop
async def test_handlers_are_registered_with_their_times(restate: RestateServer):
    """The server lets a step take its handler's time limit and a minute, or a day, and tries for ever."""
    handlers = Handlers()
    handlers.add(_echo, name="quick")
    handlers.add(_echo, name="slow")
    handlers.add(_echo, "write", "Cart.add")
    registry = handlers.registry
    object.__setattr__(registry, "timeouts_s", {("shop", "quick"): 5.0})
    with patch.object(Handlers, "registry", registry):
        engine = RestateEngine(restate.address, bind="127.0.0.1:0")
        async with serving(engine, handlers):
            found = {
                f"{service}/{one['name']}": one
                for service in ("shop", "shop.Cart")
                for one in restate.request("GET", f"/services/{service}")["handlers"]
            }
    assert {name: one["abort_timeout"] for name, one in found.items()} == {
        "shop/quick": "1m 5s", "shop/slow": "1d", "shop.Cart/add": "1d",
    }  # fmt: skip
    for one in found.values():
        assert one["inactivity_timeout"] == "1m"
        assert one["retry_policy"]["max_attempts"] >= 2**31
        assert one["retry_policy"]["max_interval"] == "10s"


@pytest.mark.restate
@on_a_loop
async def test_an_ended_run_is_forgotten_after_its_time(restate: RestateServer):
    """What is known of a run, and what it asked for, is cleared after the retention; the run can be started anew."""
    handlers = Handlers()

    async def quick(run: Run, payload: Any) -> Any:
        return await step(run, "a", payload)

    target = handlers.add(quick)
    async with opened(restate.address, retention_s=0.5) as engine, serving(engine, handlers):
        asked = {"object_key": "r", "new_state": {"refund": list(b"{}")}}
        restate.request("POST", "/services/otelier.approvals.Approvals/state", asked)
        await engine.start(target, 1, {}, run_id="r")
        assert await engine.result("r", 60) == [True, 1]
        with pytest.raises(RunEndedError):
            await engine.signal("r", "go", None)
        await until(lambda: not restate.rows("SELECT key FROM state WHERE service_name LIKE 'otelier.%'"))
        await engine.start(target, 2, {}, run_id="r")
        assert await engine.result("r", 60) in (
            [True, 1],
            [True, 2],
        )  # of the server's own retention, which may be later


@pytest.mark.restate
@on_a_loop
async def test_runs_go_on_after_the_server_was_killed(started_restate: RestateServer):
    """A server that is killed and started again has all runs; who waits for one is told, and clients ask again."""
    server, handlers = started_restate, Handlers()
    server.empty()

    async def flow(run: Run, payload: Any) -> Any:
        return [await step(run, "a", 1), await run.signal("go", None), await step(run, "b", 2)]

    target = handlers.add(flow)
    async with opened(server.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        waiting = asyncio.ensure_future(engine.result("r", 60))
        await until(lambda: handlers.lives)
        server.kill()
        signal = asyncio.ensure_future(engine.signal("r", "go", "late"))
        await asyncio.to_thread(server.start)
        await signal
        assert await waiting == [True, [1, "late", 2]]


@pytest.mark.restate
@on_a_loop
async def test_what_is_tried_again_shows_why(restate: RestateServer):
    """A fault of ours, and a worker that is away, show as `retrying` with the last failure."""
    handlers, faults = Handlers(), [OSError("ours")] * 2

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            if faults:
                raise faults[-1]
            return "mended"

        return await run.step("work", body)

    target = handlers.add(flow)
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")

        async def retries() -> Any:
            info = await engine.run("r")
            return info if info.health == "retrying" and info.error else None

        info = await until(retries)
        assert re.search(r"OSError.*\(tried \d+ times?\)$", info.error["message"])
        faults.clear()
        assert await engine.result("r", 60) == [True, "mended"]


@pytest.mark.restate
@on_a_loop
async def test_a_run_sleeps_without_its_worker(restate: RestateServer):
    """A body that waits longer than the inactivity time is left, and begins again when something comes."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return [await step(run, "a", 1), await run.signal("go", 60)]

    target = handlers.add(flow)
    async with opened(restate.address, inactivity_s=0.2) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: restate.rows("SELECT id FROM sys_invocation WHERE status='suspended'"))
        info = await engine.run("r")
        assert (info.status, info.waiting_for[: len("signal go until 20")]) == ("waiting", "signal go until 20")
        await engine.signal("r", "go", 2)
        assert await engine.result("r", 60) == [True, [1, 2]]
    assert len(handlers.lives) >= 2


def test_options_are_those_that_were_asked_for():
    """A step is never killed before a day has passed, and a finished run is kept for a month."""
    options = Options()
    assert (options.abort_s, options.retention_s, options.max_retry_s) == (86400, 30 * 86400, 10)


@pytest.mark.restate
@on_a_loop
async def test_a_run_that_the_server_does_not_see_yet_is_waited_for(restate: RestateServer):
    """A busy server may say of a run that was started just now that there is none: it was not cancelled."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return await step(run, "a", 1)

    target = handlers.add(flow)
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        attach, unseen = engine._server.attach, [UnknownRunError("not yet", workflow_id="r")] * 2

        async def attached(invocation: str, run_id: str) -> Any:
            if unseen:
                raise unseen.pop()
            return await attach(invocation, run_id)

        with patch.object(engine._server, "attach", attached):
            assert await engine.result("r", 60) == [True, 1]


@pytest.mark.restate
@on_a_loop
async def test_a_run_whose_outcome_was_deleted_was_not_cancelled(restate: RestateServer):
    """Whoever asks for the end of a run that succeeded, and is kept no more, is told that there is none."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return await step(run, "a", 1)

    target = handlers.add(flow)
    async with opened(restate.address, again_s=0.5) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, 1]
        restate.request("PATCH", f"/invocations/{await engine._invocation('r')}/purge")
        await until(lambda: not restate.rows("SELECT id FROM sys_invocation WHERE target_handler_name='flow'"))
        with pytest.raises(UnknownRunError):
            await engine.result("r", 60)


@pytest.mark.restate
@on_a_loop
async def test_a_run_that_is_on_its_way_can_be_cancelled(restate: RestateServer):
    """A run whose start was answered is there for whoever cancels it at once, however busy the server is."""
    handlers = Handlers()
    target = handlers.add(_echo)
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        rows, unseen = engine._server.rows, list[str]()

        async def late(query: str) -> Any:
            if "i.id IN" in query and len(unseen) < 2:
                unseen.append(query)
                return []
            return await rows(query)

        with patch.object(engine._server, "rows", late):
            await engine.cancel("r")
        assert (await engine.result("r", 60))[1]["type"] == "RunCancelled"
        assert len(unseen) == 2


@asynccontextmanager
async def silent(says: bytes, after: int) -> AsyncIterator[tuple[int, list[str]]]:
    """Take requests, and answer none of the first so many; yields the port and the paths that were asked for."""
    asked = list[str]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).split()[1].decode())
        if len(asked) > after:
            writer.write(b"HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n%b" % (len(says), says))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


@on_a_loop
async def test_who_waits_for_a_run_asks_again_where_the_connection_was_lost():
    """A connection that is lost without a word, such as with its machine, keeps nobody waiting for ever."""
    async with silent(b'{"value":1,"at":2}', after=2) as (port, asked):
        server = Server(parse_address(f"restate://127.0.0.1:{port}"), Options(answer_s=0.2))
        assert await server.attach("inv_1", "r") == [True, 1]
    assert asked == ["/restate/invocation/inv_1/attach"] * 3
