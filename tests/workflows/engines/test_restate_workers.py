"""Several workers of one Restate server: the objects that they share, versions, workers and URLs that are away."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from otelier.errors import EngineError
from otelier.workflows import Client, Context, Worker, workflow
from otelier.workflows.engines.protocol import Run
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, raises_sentence, serving, step, until
from tests.workflows.nursery import Nursery, nursery
from tests.workflows.restating import RestateServer, free_port

pytest.importorskip("restate", reason="the extra `restate` is not installed")

from otelier.workflows.engines.restate import Options, RestateEngine
from otelier.workflows.engines.restate import _http as http
from tests.workflows.engines import beside

pytestmark = pytest.mark.restate
_BEGUN = (
    "SELECT id FROM sys_invocation WHERE target_service_name='otelier.run' AND status='running'"
    " AND pinned_deployment_id IS NOT NULL"
)


@workflow
async def refund(ctx: Context, order_id: str) -> Any:
    paid = await ctx.signal("paid")
    return [order_id, paid, (await ctx.human.approval("refund")).approver]


async def _echo(run: Run, payload: Any) -> Any:
    return [run.version, await run.signal("go", None), run.version]


async def until_told(pid: int, found: Nursery) -> None:
    """Wait until a worker of another process is at work."""
    await until(lambda: found.works(pid))


# --- the objects that all workers share ----------------------------------------------------------------------------
@on_a_loop
async def test_runs_go_on_when_the_worker_of_another_service_leaves(restate: RestateServer):
    """Starts, signals, decisions and ends of a service need a worker of that service only, whoever registered last."""
    async with (
        opened(restate.address) as shop,
        opened(restate.address) as mail,
        Worker("shop", modules=[refund], engine=shop) as worker,
    ):
        handle = await worker.start(refund, "o-1", workflow_id="before")
        async with Worker("mail", modules=[], engine=mail):
            pass
        client = Client(shop)
        for run_id in ("before", "after"):
            handle = await worker.start(refund, "o-1", workflow_id=run_id)
            await client.signal(run_id, "paid", 9)

            async def asks(run_id: str = run_id) -> bool:
                return any(one.workflow_id == run_id for one in await client.approvals())

            await until(asks)
            await client.approve(run_id, "refund", approver="ann")
            assert await handle.result(timeout_s=60) == ["o-1", 9, "ann"]


def _deployments(restate: RestateServer, service: str = "shop") -> list[str]:
    """Return the URLs that a service is registered at, the latest last."""
    latest = restate.request("GET", f"/services/{service}")["deployment_id"]
    found = restate.request("GET", "/deployments")["deployments"]
    urls = [(one["id"] == latest, one["uri"]) for one in found if service in {each["name"] for each in one["services"]}]
    return [url for _, url in sorted(urls)]


@on_a_loop
async def test_a_worker_that_stops_hands_over_what_it_does_for_all(restate: RestateServer):
    """After an orderly stop the next start is not held up until somebody notices: another worker was told."""
    shop, mail = Handlers(), Handlers("mail")
    target = shop.add(_echo)
    async with (
        opened(restate.address, watch_s=3600) as one,
        opened(restate.address, watch_s=3600) as two,
        serving(one, shop),
    ):
        async with serving(two, mail):
            pass
        assert _deployments(restate, "otelier.run")[-1].startswith(one.registered[0].rpartition("/v")[0])
        await one.start(target, None, {}, run_id="r")
        await one.signal("r", "go", 1)
        assert await one.result("r", 60) == [True, [1, 1, 1]]


@on_a_loop
async def test_what_a_killed_worker_had_begun_is_moved(restate: RestateServer):
    """Of a worker that registered last and is killed, the end of a run that it had begun to note goes on elsewhere."""
    shop = Handlers()
    target = shop.add(_echo)
    async with nursery(beside.__name__) as found, opened(restate.address) as engine, serving(engine, shop):
        await until_told(await found.start(restate.address), found)
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: shop.lives)
        await engine.cancel("r")  # the time of a cancel is recorded when it is noted
        await until(lambda: restate.rows(_BEGUN))
        await found.kill(*found.alive)
        assert (await engine.result("r", 60))[0] is False
        assert (await engine.run("r")).status == "cancelled"
        assert _deployments(restate, "otelier.run")[-1].startswith(engine.registered[0].rpartition("/v")[0])


@on_a_loop
async def test_a_worker_that_is_frozen_is_stood_in_for(restate: RestateServer):
    """A worker that keeps its connections and says nothing, as on a machine that hangs, holds up nothing for long."""
    shop = Handlers()
    target = shop.add(_echo)
    async with (
        nursery(beside.__name__) as found,
        opened(restate.address, silent_s=1.0, watch_s=0.5) as engine,
        serving(engine, shop),
    ):
        pid = await found.start(restate.address)
        await until_told(pid, found)
        await engine.start(target, None, {}, run_id="before")
        os.kill(pid, signal.SIGSTOP)
        await engine.start(target, None, {}, run_id="after")
        for run_id in ("before", "after"):
            await engine.signal(run_id, "go", 1)
            assert await engine.result(run_id, 60) == [True, [1, 1, 1]]


@on_a_loop
async def test_a_client_that_no_worker_answers_says_so_once(restate: RestateServer, caplog: pytest.LogCaptureFixture):
    """Its requests wait in the server until one does; meanwhile one WARNING says what it waits for."""
    shop = Handlers()
    target = shop.add(_echo)
    async with opened(restate.address) as engine, opened(restate.address, late_s=0.1) as client:
        async with serving(engine, shop):
            pass
        starts = [asyncio.create_task(client.start(target, None, {}, run_id=f"r-{n}")) for n in range(2)]
        await until(lambda: caplog.records)
        async with serving(engine, shop):
            await asyncio.gather(*starts)
    assert [one.levelname for one in caplog.records if "keeps a request" in one.message] == ["WARNING"]


@on_a_loop
async def test_two_workers_that_stand_in_at_once_do_no_harm(restate: RestateServer):
    """All workers that are left may notice a killed one at once: what waited goes on, once."""
    shop, mail = Handlers(), Handlers("mail")
    target = shop.add(_echo)
    async with (
        nursery(beside.__name__) as found,
        opened(restate.address) as one,
        opened(restate.address) as two,
        serving(one, shop),
        serving(two, mail),
    ):
        await until_told(await found.start(restate.address), found)
        await found.kill(*found.alive)
        await asyncio.gather(*(one.start(target, n, {}, run_id=f"r-{n}") for n in range(5)))
        await asyncio.gather(*(two.signal(f"r-{n}", "go", n) for n in range(5)))
        assert [await two.result(f"r-{n}", 60) for n in range(5)] == [[True, [1, n, 1]] for n in range(5)]
    assert sorted(shop.lives) == [f"r-{n}" for n in range(5)]


# --- versions ------------------------------------------------------------------------------------------------------
@on_a_loop
async def test_an_older_version_takes_no_new_runs_away(restate: RestateServer, caplog: pytest.LogCaptureFixture):
    """A worker of version 1 that starts again after version 2, at its URL or another one, carries its old runs only."""
    old, new = Handlers(version=1), Handlers(version=2)
    target = old.add(_echo)
    new.add(_echo)
    async with opened(restate.address) as first, opened(restate.address) as second, opened(restate.address) as third:
        async with serving(first, old):
            await first.start(target, None, {}, run_id="old")
            await until(lambda: old.lives)
        async with serving(second, new):
            old.add(_echo, name="added later")
            async with serving(first, old), serving(third, old):
                assert _deployments(restate)[-1] == second.registered[0]
                assert "a worker of version 2 answers" in caplog.text
                await third.start(target, None, {}, run_id="new")
                for run_id, version in (("old", 1), ("new", 2)):
                    await third.signal(run_id, "go", run_id)
                    assert await third.result(run_id, 60) == [True, [version, run_id, version]]


@on_a_loop
async def test_services_that_only_the_older_version_has_stay_its_own(restate: RestateServer):
    """A worker whose services are in part in a newer one registers the others, and its open runs go on."""
    old, new = Handlers(version=1), Handlers(version=2)
    target = old.add(_echo)
    new.add(_echo)
    async with opened(restate.address) as first, opened(restate.address) as second, serving(second, new):
        await second.start(target, None, {}, run_id="new")
        old.kinds["mail", "_echo"] = "workflow"
        async with serving(first, old):
            mail = type(target)("mail", "_echo")
            await first.start(mail, None, {}, run_id="mail")
            for run_id, version in (("new", 2), ("mail", 1)):
                await first.signal(run_id, "go", run_id)
                assert await first.result(run_id, 60) == [True, [version, run_id, version]]
            assert _deployments(restate)[-1] == second.registered[0]
            assert _deployments(restate, "mail") == [first.registered[0]]


@on_a_loop
async def test_a_registration_that_is_lost_is_made_again(restate: RestateServer):
    """What an older worker took, or somebody removed, a worker that is there takes back by itself."""
    old, new = Handlers(version=1), Handlers(version=2)
    target = old.add(_echo)
    new.add(_echo)
    async with (
        opened(restate.address, watch_s=3600) as first,
        opened(restate.address, watch_s=0.1) as second,
        serving(first, old),
        serving(second, new),
    ):
        await first._deployments.register(first.registered[0])
        await until(lambda: _deployments(restate)[-1] == second.registered[0])
        for one in restate.request("GET", "/deployments")["deployments"]:
            restate.request("DELETE", f"/deployments/{one['id']}?force=true")
        await until(lambda: all(restate.request("GET", f"/services/{name}") for name in ("otelier.run", "shop")))
        await second.start(target, None, {}, run_id="r")
        await second.signal("r", "go", 1)
        assert await second.result("r", 60) == [True, [2, 1, 2]]


@on_a_loop
async def test_the_worker_of_the_newer_version_carries_open_runs_alone(restate: RestateServer):
    """One worker serves both versions at one URL: open runs branch on their version, new ones start on the new."""

    async def flow(run: Run, payload: Any) -> Any:
        charged = await step(run, "charge", run.version)
        go = await run.signal("go", None)
        return [charged, go] if run.version == 1 else [charged, go, await step(run, "thank", "thanks")]

    old, new = Handlers(version=1), Handlers(version=2)
    target = old.add(flow)
    new.add(flow)
    async with opened(restate.address) as engine:
        async with serving(engine, old):
            for n in range(3):
                await engine.start(target, n, {}, run_id=f"old-{n}")
            await until(lambda: len(old.lives) == 3)
        async with serving(engine, new):
            for n in range(3):
                await engine.start(target, n, {}, run_id=f"new-{n}")
            for run_id in ("old-{}", "new-{}"):
                for n in range(3):
                    await engine.signal(run_id.format(n), "go", n)
            assert [await engine.result(f"old-{n}", 60) for n in range(3)] == [[True, [1, n]] for n in range(3)]
            assert [await engine.result(f"new-{n}", 60) for n in range(3)] == [
                [True, [2, n, "thanks"]] for n in range(3)
            ]
            assert [(await engine.run(f"{v}-0")).version for v in ("old", "new")] == [1, 2]


@on_a_loop
async def test_where_a_url_goes_back_to_older_code_that_takes_new_runs(restate: RestateServer):
    """A newer version whose worker does not answer holds up no new run; it takes them again when it is back."""
    old, new, port = Handlers(version=1), Handlers(version=2), free_port()
    target = old.add(_echo)
    new.add(_echo)
    engine = RestateEngine(restate.address, bind=f"127.0.0.1:{port}", options=Options(max_retry_s=0.2, stop_s=2))
    async with serving(engine, new):
        pass
    for handlers, run_id in ((old, "back"), (new, "again")):
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id=run_id)
            await engine.signal(run_id, "go", 1)
            assert await engine.result(run_id, 60) == [True, [handlers.registry.version, 1, handlers.registry.version]]


# --- workers that are away -----------------------------------------------------------------------------------------
async def _is_waiting_for_its_worker(engine: Any, run_id: str) -> Any:
    info = await engine.run(run_id)
    return info if info.waiting_for == "its worker" and info.error else None


@on_a_loop
async def test_a_url_that_is_gone_holds_up_its_own_runs_only(restate: RestateServer):
    """A start at a worker that is gone waits and says why, and another worker's runs go on."""
    shop, mail = Handlers(), Handlers("mail", version=3)
    target, letter = shop.add(_echo), mail.add(_echo)
    async with opened(restate.address) as engine, opened(restate.address) as other, serving(engine, shop):
        async with serving(other, mail):
            url = other.registered[0]
        for run_id, what in (("letter", letter), ("order", target)):
            await engine.start(what, None, {}, run_id=run_id)
        await engine.signal("order", "go", 1)
        assert await engine.result("order", 60) == [True, [1, 1, 1]]
        info = await until(lambda: _is_waiting_for_its_worker(engine, "letter"))
        assert (info.status, info.health, info.version) == ("waiting", "retrying", 3)
        assert url in info.error["message"]
        shown = {one.workflow_id: one for one in await engine.runs()}
        assert (shown["letter"].health, url in shown["letter"].error["message"]) == ("retrying", True)
        async with serving(other, mail):
            await engine.signal("letter", "go", 2)
            assert await engine.result("letter", 60) == [True, [3, 2, 3]]


@pytest.mark.slow
@on_a_loop
async def test_runs_outlive_a_time_without_any_worker(restate: RestateServer):
    """After 90 s without a worker no run has failed or is paused, and all go on when one is back."""
    handlers, gate = Handlers(), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            await gate.wait()
            return payload

        return [await run.step("works", body), await run.signal("go", None)]

    async def nap(run: Run, payload: Any) -> Any:
        return await run.sleep(1)

    working, sleeping, waiting = handlers.add(flow), handlers.add(nap), handlers.add(_echo)
    engine = RestateEngine(restate.address, bind=f"127.0.0.1:{free_port()}", options=Options(stop_s=0.1))
    async with serving(engine, handlers):
        for target in (working, sleeping, waiting):
            await engine.start(target, 1, {}, run_id=target.handler)
        await until(lambda: len(handlers.lives) == 3)
    signals = [asyncio.create_task(engine.signal(one.handler, "go", 2)) for one in (working, waiting)]
    await asyncio.sleep(90)
    found = restate.rows("SELECT status FROM sys_invocation WHERE target_service_name='shop'")
    assert {one["status"] for one in found} <= {"backing-off", "suspended", "running"}
    assert {one.status for one in await engine.runs()} == {"waiting"}
    gate.set()
    async with serving(engine, handlers):
        await asyncio.gather(*signals)
        assert await engine.result("flow", 60) == [True, [1, 2]]
        assert await engine.result("nap", 60) == [True, None]
        assert await engine.result("_echo", 60) == [True, [1, 2, 1]]


# --- long steps ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("abort_s", "repeats"), [(288.0, False), (2.0, True)])
@on_a_loop
async def test_a_step_longer_than_the_server_allows_by_itself_runs_once(
    restate: RestateServer, abort_s: float, repeats: bool
):
    """A step may take a day; with the server's own time, at a 300th of the scale, 15 minutes are cut and repeated."""
    handlers, begun = Handlers(), list[int]()

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            begun.append(1)
            await asyncio.sleep(3)
            return len(begun)

        return await run.step("takes 15 minutes", body)

    target = handlers.add(flow)
    # The server's own times are 60 s of silence and 600 s more, ours 60 s and 86,400 s.
    async with (
        opened(restate.address, inactivity_s=0.2, abort_s=abort_s, stop_s=0.1) as engine,
        serving(engine, handlers),
    ):
        await engine.start(target, None, {}, run_id="r")
        if repeats:
            await until(lambda: len(begun) >= 2)
            await engine.cancel("r")
        else:
            assert await engine.result("r", 60) == [True, 1]
            assert len(begun) == 1


# --- signed requests -----------------------------------------------------------------------------------------------
def _pem(seed: bytes) -> str:
    """Return an Ed25519 key as PKCS 8 has it."""
    text = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + seed).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"


@on_a_loop
async def test_a_worker_with_the_servers_key_takes_its_requests_alone(
    restate: RestateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A server that signs and a worker with its public key work together; other requests get 401."""
    (tmp_path / "key.pem").write_text(_pem(b"k" * 32))
    server = RestateServer(f'request-identity-private-key-pem-file = "{tmp_path}/key.pem"')
    try:
        await asyncio.to_thread(server.start)
        found = re.search(r"publickeyv1_\w+", (server.folder / "log").read_text())
        assert found is not None, "the server did not print its key"
        monkeypatch.setenv("OTELIER_RESTATE_IDENTITY_KEY", f"publickeyv1_{'1' * 32}, {found[0]}")
        port, handlers = free_port(), Handlers()
        target = handlers.add(_echo)
        engine = RestateEngine(server.address, bind=f"0.0.0.0:{port}", url=f"http://127.0.0.1:{port}")
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await engine.signal("r", "go", 1)
            assert await engine.result("r", 60) == [True, [1, 1, 1]]
            for path in ("/v1/discover", "/v1/invoke/shop/_echo", "/otelier.run/v1/invoke/otelier.run/start"):
                assert (await http.request("127.0.0.1", port, "POST", path, b"")).status == 401
            with raises_sentence(EngineError, "OTELIER_RESTATE_IDENTITY_KEY", "401"):
                await RestateEngine(restate.address)._deployments.register(engine.registered[0])
    finally:
        server.close()
