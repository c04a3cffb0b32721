"""Several workers of one Restate server: the objects that they share, versions, workers and URLs that are away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otelier.workflows import Client, Context, Worker, workflow
from otelier.workflows.engines.protocol import Run
from tests.workflows.engines import beside
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, step, until
from tests.workflows.nursery import Nursery, nursery
from tests.workflows.restating import RestateServer

pytest.importorskip("restate", reason="the extra `restate` is not installed")

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
async def test_what_a_killed_worker_had_begun_is_moved(restate: RestateServer):
    """Of a worker that registered last and is killed, the end of a run that it had begun to note goes on elsewhere."""
    shop = Handlers()
    target = shop.add(_echo)
    async with nursery(beside.__name__) as found, opened(restate.address) as engine, serving(engine, shop):
        await until_told(await found.start(restate.address), found)
        await engine.start(target, None, {}, run_id="r")
        await engine.signal("r", "go", 1)
        await until(lambda: restate.rows(_BEGUN))
        await found.kill(*found.alive)
        assert await engine.result("r", 60) == [True, [1, 1, 1]]
        assert _deployments(restate, "otelier.run")[-1].startswith(engine.registered[0].rpartition("/v")[0])


@on_a_loop
async def test_two_workers_that_stand_in_at_once_do_no_harm(restate: RestateServer):
    """All workers that are left may notice a lost one at once: what waited goes on, once."""
    shop, mail, bank = Handlers(), Handlers("mail"), Handlers("bank")
    target = shop.add(_echo)
    async with (
        opened(restate.address) as one,
        opened(restate.address) as two,
        opened(restate.address) as three,
        serving(one, shop),
        serving(two, mail),
    ):
        async with serving(three, bank):
            pass
        starting = [asyncio.create_task(one.start(target, n, {}, run_id=f"r-{n}")) for n in range(5)]
        await asyncio.gather(*starting)
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
                assert "version 2 is registered" in caplog.text
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
        await first._server.register(first.registered[0])
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
