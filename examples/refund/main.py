"""A refund: a model assesses it, a person approves it, and it is paid once, although the worker is killed as it pays.

This is the rest of the service: it starts the worker, and the next one when that is gone, and the run, and decides.
`OTELIER_ENGINE` says where runs are kept; without it that is a file.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import otelier
from otelier import Client
from otelier.testing import OpenAIServer, OtlpReceiver, trace_tree

EXPORT = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}


def start_worker(*words: str) -> subprocess.Popen[str]:
    """Start a worker in a process of its own, and wait until it works."""
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def give_back() -> None:
    worker = start_worker("die")
    client = Client()
    order_id = f"o-{uuid4().hex[:6]}"
    with otelier.context(user_id="alice"):
        order = {"order_id": order_id, "amount": 42}
        run = await client.start("refunds", "refund", order, workflow_id=f"refund-{order_id}")

    asked = []
    while not asked:
        asked = [one for one in await client.approvals() if one.workflow_id == run.workflow_id]
        await asyncio.sleep(0.05)
    print(f"{run.workflow_id} asks for the approval {asked[0].name!r} by {', '.join(asked[0].required_roles)}.")
    await client.approve(run.workflow_id, "refund", approver="ann", roles=["billing"])

    print(f"The worker was killed: exit code {await asyncio.to_thread(worker.wait)}.")
    worker = start_worker()
    print(f"The next one finished the run: {await run.result()}.")
    worker.terminate()
    worker.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, OpenAIServer() as model, OtlpReceiver() as receiver:
        if not (os.environ.get("OPENAI_API_KEY") and os.environ.get("OPENAI_BASE_URL")):
            os.environ.update(OPENAI_API_KEY="not-needed", OPENAI_BASE_URL=model.base_url)
        os.environ.update(EXPORT, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, REFUND_FOLDER=folder)
        os.environ.setdefault("OTELIER_ENGINE", f"file:{Path(folder) / 'runs.db'}")
        asyncio.run(give_back())
        print(f"Bookings: {len(list(Path(folder).glob('*.booking')))}.\n")
        print(trace_tree(receiver.spans, "user.id", "otelier.step.executions"))


if __name__ == "__main__":
    main()
