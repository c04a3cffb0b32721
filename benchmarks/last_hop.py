"""Cost of the patch that adds the fields to a request, for each HTTP client, with connections kept alive.

Run: uv run python benchmarks/last_hop.py

Each column has a process of its own, which take turns; ratios are taken within each round, so that a busy machine
changes figures but not the verdict. Times are the calling thread's own, so that waiting for the server does not flatter
them. Every request carries the headers of the current trace, as a client's instrumentation would put there; that one's
own cost is not counted.

| column | what is sent |
|---|---|
| bare | a request by the client as it came |
| by hand | the same, and the application writes seven fields into the header itself |
| nothing set | patched, and no field is set |
| outside | patched, seven fields are set, and the host gets none of them |
| inside | patched, seven fields are set, and the host gets these |
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from statistics import median, quantiles
from typing import Any

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider

import otelier
from otelier import baggage
from otelier.fields import BAGGAGE_KEYS

ROUNDS, REQUESTS, FIRST, WARM = 80, 10, 3, 200
INSIDE, OUTSIDE = "localhost", "api.partner.example"
FIELDS = {
    "user_id": "user-8f2c11",
    "user_role": "customer",
    "agent": "invoice-triage",
    "agent_id": "agent-42",
    "session_id": "sess-20261121-0001",
    "workflow_id": "workflow-7",
    "tenant_id": "tenant-12",
}
WRITTEN = ",".join(f"{key}={value}" for key, value in zip(BAGGAGE_KEYS, FIELDS.values()))
CLIENTS = ("httpx", "httpx async", "requests", "urllib3", "aiohttp")
MODES = ("bare", "by hand", "nothing set", "outside", "inside")
SERVER = """
import asyncio, contextlib

async def serve(reader, writer):
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")

async def main():
    server = await asyncio.start_server(lambda *ends: serve(*ends), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
Send = Callable[[str, dict[str, str], int], float]
"""Sends so many requests to an address; gives the thread's seconds that they took."""


def sync(request: Callable[[str, dict[str, str]], object]) -> Send:
    def send(url: str, headers: dict[str, str], times: int) -> float:
        began = time.thread_time()
        for _ in range(times):
            request(url, headers)
        return time.thread_time() - began

    return send


def asynchronous(loop: asyncio.AbstractEventLoop, request: Callable[[str, dict[str, str]], Any]) -> Send:
    async def send_all(url: str, headers: dict[str, str], times: int) -> float:
        began = time.thread_time()
        for _ in range(times):
            await request(url, headers)
        return time.thread_time() - began

    def send(url: str, headers: dict[str, str], times: int) -> float:
        return loop.run_until_complete(send_all(url, headers, times))

    return send


@contextmanager
def clients() -> Iterator[dict[str, Send]]:
    """Every client, open."""
    loop = asyncio.new_event_loop()
    plain, session, pool = httpx.Client(trust_env=False), requests.Session(), urllib3.PoolManager()
    session.trust_env = False

    async def open_sessions() -> tuple[httpx.AsyncClient, aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), family=socket.AF_INET)
        return httpx.AsyncClient(trust_env=False), aiohttp.ClientSession(connector=connector)

    ahttpx, aio = loop.run_until_complete(open_sessions())

    async def get(url: str, headers: dict[str, str]) -> None:
        async with aio.get(url, headers=headers) as answer:
            await answer.read()

    try:
        yield {
            "httpx": sync(lambda url, headers: plain.get(url, headers=headers)),
            "httpx async": asynchronous(loop, lambda url, headers: ahttpx.get(url, headers=headers)),
            "requests": sync(lambda url, headers: session.get(url, headers=headers)),
            "urllib3": sync(lambda url, headers: pool.request("GET", url, headers=headers)),
            "aiohttp": asynchronous(loop, get),
        }
    finally:
        plain.close()
        session.close()
        pool.clear()
        loop.run_until_complete(ahttpx.aclose())
        loop.run_until_complete(aio.close())
        loop.close()


def lead_here() -> None:
    """Let every name lead to this machine."""
    look_up = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *args, **kwargs: look_up("127.0.0.1", *args, **kwargs)  # type: ignore[assignment]


@contextmanager
def server() -> Iterator[int]:
    """A server in a process of its own, as little of one as does; gives its port."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def work(mode: str, port: int, orders: Connection) -> None:
    """Send as *orders* says, in a process of its own, which stays as it is: to patch and unpatch slows Python down."""
    if mode not in ("bare", "by hand"):
        baggage.install()
    span = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark").start_span("work")
    lead_here()
    with clients() as sends, trace.use_span(span), otelier.context(**({} if mode == "nothing set" else FIELDS)):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        if mode == "by hand":
            headers["baggage"] = WRITTEN
        url = f"http://{OUTSIDE if mode == 'outside' else INSIDE}:{port}/"
        for send in sends.values():
            send(url, headers, WARM)
        while client := orders.recv():
            sends[client](url, headers, FIRST)  # others had the processor meanwhile
            orders.send(sends[client](url, headers, REQUESTS) / REQUESTS * 1e6)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    times: dict[tuple[str, str], list[float]] = {(client, mode): [] for client in CLIENTS for mode in MODES}
    with server() as port:
        workers: dict[str, tuple[Connection, BaseProcess]] = {}
        for mode in MODES:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(mode, port, theirs), daemon=True)
            process.start()
            workers[mode] = ours, process
        for _ in range(ROUNDS):
            for (client, mode), taken in times.items():
                orders, _process = workers[mode]
                orders.send(client)
                taken.append(orders.recv())
        for orders, process in workers.values():
            orders.send("")
            process.join()
    print(f"{'us of a request':<16}" + "".join(f"{mode:>20}" for mode in MODES))
    for client in CLIENTS:
        bare = times[client, "bare"]
        cells = [f"{quantiles(bare)[0]:>20.1f}"]
        for mode in MODES[1:]:
            ratio = median(taken / least for taken, least in zip(times[client, mode], bare))
            added = quantiles(times[client, mode])[0] - quantiles(bare)[0]
            cells.append(f"{added:>+13.1f} ({ratio:.2f})")
        print(f"{client:<16}" + "".join(cells))


if __name__ == "__main__":
    main()
