"""A worker whose body uses SQLAlchemy and httpx, both instrumented, and which is killed twice; prints `"done"`.

The parent serves HTTP, starts the worker under what it was started under itself, and kills it where it holds a request.
"""

import asyncio
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from opentelemetry import trace

HELD = ("/between", "/after")
"""Requests of the body that the server leaves without an answer the first time: the worker is killed there."""


async def parcels(ctx, folder, url):
    import httpx
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{folder}/parcels.db")

    def insert():
        with engine.begin() as connection:
            connection.execute(text("insert into parcel values (1)"))

    def select():
        with engine.connect() as connection:
            return connection.execute(text("select count(*) from parcel")).scalar_one()

    def flushed(path):
        trace.get_tracer_provider().force_flush()  # what a kill takes from a batch is another matter
        return httpx.get(url + path, timeout=600).text

    try:
        with trace.get_tracer("shop").start_as_current_span("around"):
            with engine.begin() as connection:
                connection.execute(text("create table if not exists parcel (id integer)"))
            await ctx.step("insert", insert)
            await asyncio.to_thread(flushed, "/between")
            await ctx.sleep(0.01)
            found = select()
            await ctx.step("told", lambda: httpx.get(url + "/told").text)
            await asyncio.to_thread(flushed, "/after")
            await ctx.step("select", select)
    finally:
        engine.dispose()
    return found


def work(folder, url):
    from otelier import Client, Worker, workflow

    handler = workflow(name="parcels")(parcels)

    async def main():
        async with Worker("shop", modules=[handler], engine=f"file:{folder}/runs.db"):
            handle = await Client(f"file:{folder}/runs.db").start(
                "shop", "parcels", {"folder": folder, "url": url}, workflow_id="p-1"
            )
            assert await handle.result() == 1

    asyncio.run(main())


EVENTS = {path: threading.Event() for path in HELD}


class Holding(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        event = EVENTS.get(self.path)
        if event is not None and not event.is_set():
            event.set()
            self.rfile.read(1)  # until the client is dead
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def main():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Holding) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, __file__, folder]
        command.append(f"http://127.0.0.1:{server.server_port}")
        for path in HELD:
            with subprocess.Popen(command) as worker:
                assert EVENTS[path].wait(120), path
                worker.kill()
        assert subprocess.run(command, check=False, timeout=240).returncode == 0
        server.shutdown()
    sys.stdout.write(json.dumps("done") + "\n")


if len(sys.argv) > 1:
    work(*sys.argv[1:])
else:
    os.environ.setdefault("OTEL_METRICS_EXPORTER", "none")
    main()
